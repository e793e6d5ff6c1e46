"""Makes the event loop handle messages in batches under load, at a fixed interval.

A loop that sleeps until the next message wakes up for each one. At thousands of messages a second, waking up costs as
much as reading. So under load the loop runs at a fixed interval, and each time finds all messages that have arrived
meanwhile, like a network card with interrupt moderation. No message waits longer than one interval. If the work takes
longer than the interval, the loop does not wait at all.
"""

import asyncio
import time
from typing import Protocol

_SAMPLE_SECONDS = 0.1
_BUSY_PER_SECOND, _CALM_PER_SECOND = 1000.0, 500.0
_SHORTEST_WAIT_SECONDS = 0.0002
_PASSES = 4
"""Iterations of the loop for each interval, because messages pass through several tasks, in one iteration each."""


class Traffic(Protocol):
    received: int
    """The number of messages since the start."""


class Pace:
    """The pace of the event loop of this process."""

    def __init__(self, interval_seconds: float, traffic: Traffic) -> None:
        """Create it. `interval_seconds`: 0 for no batches."""
        self._interval_seconds = interval_seconds
        self._traffic = traffic
        self._busy = False
        self._next = 0.0
        self._passes = 0

    async def run(self) -> None:
        """Watch the traffic, and use the interval while there is much."""
        seen, at = self._traffic.received, time.perf_counter()
        while self._interval_seconds:
            await asyncio.sleep(_SAMPLE_SECONDS)
            count, now = self._traffic.received, time.perf_counter()
            rate = (count - seen) / (now - at)
            seen, at = count, now
            if rate >= _BUSY_PER_SECOND and not self._busy:
                self._busy = True
                self._next = now
                self._wait_for_interval()
            elif rate < _CALM_PER_SECOND:
                self._busy = False

    def _wait_for_interval(self) -> None:
        """Block the loop until the next interval, so that messages gather meanwhile."""
        if not self._busy:
            return
        asyncio.get_running_loop().call_soon(self._wait_for_interval)
        self._passes += 1
        if self._passes < _PASSES:
            return
        self._passes = 0
        now = time.perf_counter()
        wait = self._next - now
        if wait > _SHORTEST_WAIT_SECONDS:
            time.sleep(wait)
            now += wait
        self._next = now + self._interval_seconds
