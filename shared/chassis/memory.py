"""Memory that is free inside the process, given back to the system."""

import ctypes
import sys
from collections.abc import Callable

from studyroom.shared.chassis import logs

log = logs.get(__name__)


def trim() -> None:
    """With glibc: give the pages that no object is in back to the system. Takes some 10 ms for each 100 MB.

    Holds no lock of Python's, so call it in a thread.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def _malloc_trim() -> Callable[[int], int] | None:
    """None where the C library is another one."""
    if sys.platform != "linux":
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


class HighWaterMark:
    """Notices when much of what there was has gone. Pure."""

    def __init__(self, *, at_least: int) -> None:
        """`at_least`: fewer are not worth it."""
        self._at_least = at_least
        self._high = 0

    def has_halved(self, now: int) -> bool:
        """`now`: how many there are. True once after each time their number has halved."""
        self._high = max(self._high, now)
        if self._high < self._at_least or now > self._high // 2:
            return False
        self._high = now
        return True
