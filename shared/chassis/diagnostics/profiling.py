"""A sampling profile of this process: which stacks its threads have, looked at many times a second.

The result has a line for each stack, with its frames from the outermost and the number of its samples. This is the
"collapsed" form, from which flame graphs are made (https://github.com/brendangregg/FlameGraph).

Compiled modules have no frames of Python. So a stack that ends in the event loop is either waiting for its sockets or
runs compiled code. The processor time of the thread since the last sample shows which of both.
"""

import sys
import threading
import time
from collections import Counter
from types import CodeType, FrameType

_DEPTH_MAX = 128
_LOOP_MODULE = "asyncio.runners"
"""The innermost frame of Python while uvloop itself runs is in this module."""
_BUSY_SHARE = 0.5
WAITING, COMPILED = "(the event loop waits)", "(compiled code)"


def profile(seconds: float, hertz: int) -> str:
    """Sample all threads but the present one, `hertz` times a second. Returns the collapsed stacks.

    Each sample takes the interpreter for some 0.1 ms.
    """
    own = threading.get_ident()
    stacks = Counter[str]()
    clock = _LoopClock()
    until, next_at = time.monotonic() + seconds, time.monotonic()
    while next_at < until:
        next_at = max(next_at + 1 / hertz, time.monotonic())
        time.sleep(max(0.0, next_at - time.monotonic()))
        busy = clock.busy_share()
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():  # noqa: SLF001 - its documented name
            if ident != own:
                stacks[_line_of(names.get(ident, "a thread"), frame, busy)] += 1
    return "".join(f"{stack} {count}\n" for stack, count in sorted(stacks.items()))


def _line_of(thread: str, frame: FrameType, busy_share: float | None) -> str:
    names: list[str] = []
    if busy_share is not None and frame.f_globals.get("__name__") == _LOOP_MODULE:
        names.append(COMPILED if busy_share > _BUSY_SHARE else WAITING)
    outer: FrameType | None = frame
    while outer is not None and len(names) < _DEPTH_MAX:
        names.append(_name_of(outer.f_code, outer.f_globals.get("__name__", "?")))
        outer = outer.f_back
    return ";".join([thread.replace(";", ","), *reversed(names)])


def _name_of(code: CodeType, module: str) -> str:
    return f"{module}.{code.co_qualname}"


class _LoopClock:
    """Measures how much of the time the main thread, which runs the event loop, uses a processor."""

    def __init__(self) -> None:
        main = threading.main_thread().ident
        has_clocks = main is not None and hasattr(time, "pthread_getcpuclockid")  # macOS has none of threads
        self._clock = time.pthread_getcpuclockid(main) if has_clocks and main is not None else None
        self._read_at, self._used = time.monotonic(), self._read()

    def busy_share(self) -> float | None:
        """Return the share of the time since the last call; None if the system does not know it."""
        if self._clock is None:
            return None
        now, used = time.monotonic(), self._read()
        share = (used - self._used) / max(now - self._read_at, 1e-9)
        self._read_at, self._used = now, used
        return share

    def _read(self) -> float:
        return time.clock_gettime(self._clock) if self._clock is not None else 0.0
