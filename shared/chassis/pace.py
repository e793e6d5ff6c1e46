"""Under load, fewer and larger turns of the event loop.

A loop that sleeps until the next message wakes up for each one: at thousands of messages a second the wake-ups cost as
much as the reading. So while much comes in, the loop takes its turns at a fixed pace and finds in each all that has
come since the last one, like a network card that moderates its interrupts. Nothing waits longer than one turn for it,
and as soon as the work of a turn fills its time, no time is waited at all.
"""

import asyncio
import time
from typing import Protocol

_SAMPLE_SECONDS = 0.1
_BUSY_PER_SECOND, _CALM_PER_SECOND = 1000.0, 500.0
_SHORTEST_WAIT_SECONDS = 0.0002
_PASSES = 4
"""Of the loop in one turn: what came in goes from task to task in several of them."""


class Traffic(Protocol):
    received: int
    """How many messages have come in since the start."""


class Pace:
    def __init__(self, turn_seconds: float, traffic: Traffic) -> None:
        """`turn_seconds`: 0 leaves the loop alone."""
        self._turn_seconds = turn_seconds
        self._traffic = traffic
        self._busy = False
        self._next = 0.0
        self._passes = 0

    async def run(self) -> None:
        """Notice how much comes in."""
        seen, at = self._traffic.received, time.perf_counter()
        while self._turn_seconds:
            await asyncio.sleep(_SAMPLE_SECONDS)
            count, now = self._traffic.received, time.perf_counter()
            rate = (count - seen) / (now - at)
            seen, at = count, now
            if rate >= _BUSY_PER_SECOND and not self._busy:
                self._busy = True
                self._next = now
                self._turn()
            elif rate < _CALM_PER_SECOND:
                self._busy = False

    def _turn(self) -> None:
        """Blocks the loop on purpose: what would be done meanwhile is what is to gather."""
        if not self._busy:
            return
        asyncio.get_running_loop().call_soon(self._turn)
        self._passes += 1
        if self._passes < _PASSES:
            return
        self._passes = 0
        now = time.perf_counter()
        wait = self._next - now
        if wait > _SHORTEST_WAIT_SECONDS:
            time.sleep(wait)
            now += wait
        self._next = now + self._turn_seconds
