"""Turns among all processes that run tests: some tests want the machine for themselves."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Others may have a turn at the same time, unless it is for a test `alone`."""
    locks = Path(tempfile.gettempdir()) / f"studyroom-tests-{os.getuid()}"
    with locks.with_suffix(".next").open("a") as next_one, locks.with_suffix(".turn").open("a") as own:
        # A test that waits to be alone holds the first lock, so that no other test begins a turn meanwhile.
        fcntl.flock(next_one, fcntl.LOCK_EX)
        fcntl.flock(own, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(next_one, fcntl.LOCK_UN)
        yield
