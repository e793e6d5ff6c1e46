"""Returns free memory of the process to the system."""

import ctypes
import gc
import sys
from collections.abc import Callable

from studyroom.shared.chassis import logs

log = logs.get(__name__)


def empty_free_lists() -> None:
    """Free the objects that Python keeps for reuse, so that the arenas in which they lie can go too.

    Only a full run of the garbage collector does that. It stops the process for about 3 ms per 1,000 connections.
    """
    gc.collect()


def trim() -> None:
    """Return pages without objects to the system, if the C library is glibc. It takes about 10 ms for each 100 MB.

    It does not hold Python's global lock, so call it in a thread.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's `malloc_trim`, None with another C library."""
    if sys.platform != "linux":
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


class HighWaterMark:
    """Notices when a number has halved since its maximum. Pure."""

    def __init__(self, *, at_least: int) -> None:
        """Create it. `at_least`: ignore maxima below this number."""
        self._at_least = at_least
        self._high = 0

    def has_halved(self, now: int) -> bool:
        """Take the present number. Return True once each time it has halved."""
        self._high = max(self._high, now)
        if self._high < self._at_least or now > self._high // 2:
            return False
        self._high = now
        return True
