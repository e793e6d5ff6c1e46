"""Reads, writes, removes masks, and keeps memory apart. `native.pyx` does the same by system calls and loops in C.

Everything else that is compiled has Python as its only source.
"""

import os

try:
    from websockets.speedups import apply_mask
except ImportError:  # on a platform for which there is no wheel with the C code
    from websockets.utils import apply_mask

COMPILED = False
READ_MAX_BYTES = 16_384
"""The size of one read."""


def receive(fd: int) -> bytes | None:
    """Read from a socket that does not block. None if there is nothing to read, empty at the end. Raises OSError."""
    try:
        return os.read(fd, READ_MAX_BYTES)
    except BlockingIOError:
        return None


def send(fd: int, data: bytes) -> int:
    """Write to a socket that does not block. Returns how many bytes it takes, also 0. Raises OSError."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0


def unmask(data: bytes, start: int, end: int) -> bytes:
    """The bytes from `start` to `end` without the mask, which are the four bytes before them."""
    return apply_mask(data[start:end], data[start - 4 : start])


class SeparateMemory:
    """A context in which the compiled data path makes objects that go away in masses. Do not nest it, or await in it.

    CPython keeps an arena of 1 MiB as long as one object is left in it. While thousands of clients connect, the process
    also makes timers, counters and other objects that live on, and a few of these keep the memory of all clients that
    have gone. Objects that are made in this context come from the C library instead, which returns single pages (see
    `studyroom.shared.chassis.memory.trim`). They cost a little more time and space.

    It does nothing while `tracemalloc` runs, if `PYTHONMALLOC` is set, in Python's development mode, without Python's
    global lock, and with Python 3.15 or newer.
    """

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


SEPARATE_MEMORY = SeparateMemory()
