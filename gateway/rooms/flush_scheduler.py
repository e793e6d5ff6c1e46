"""When rooms send, which follows the load of the event loop.

A room that has sent nothing for a while sends in the pass of the loop in which it gets something to send. Then it
collects: cursors, chat, joins and the batches of other gateways wait until its collection ends, and leave in one write
to each member. The collection time is 0 while the loop has time to spare, and grows with the demand up to a bound. So
light load waits for nothing, and batches are large where they save time.

Demand is how busy the loop would be if rooms did not collect: how busy it is, and the time of the flushes that
collecting saves. Therefore it does not depend on the collection time, which cannot swing.

While rooms collect, the loop also pauses before it reads the next messages (see `transport.poller`). And a room
collects for at least twice as long as its last flush took, so that it cannot take more than a third of the loop from
the others.
"""

import asyncio
import math
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

_SAMPLE_SECONDS = 0.1
_QUIET_SECONDS = 1.0
_RISE_SECONDS, _FALL_SECONDS = 0.5, 1.0
"""Time constants of the moving average. It falls more slowly, so that a short lull in the load changes little."""
_FREE_DEMAND = 0.3
"""Up to this demand, rooms do not collect."""
_SECONDS_PER_CORE = 0.018
"""How much longer rooms collect for each core that the loop would need beyond that."""
_REST_FACTOR = 2.0
_STRETCHED_SECONDS = 0.012
"""Stretched collections are at most this long, or as long as others."""
_TIMER_SECONDS = 0.001
"""The resolution of timers."""
_SLACK = 8
"""Rooms whose collections end within this fraction of the collection time are flushed together."""
_PAUSES = 2
"""A pause is this fraction of the collection time."""
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.001, 0.004
_NOW = -math.inf


class CollectionTime:
    """How long rooms collect. Pure."""

    def __init__(self, longest_seconds: float, shortest_seconds: float = 0.0) -> None:
        self._longest_seconds = longest_seconds
        self._shortest_seconds = shortest_seconds
        self.demand = 0.0
        """The moving average of the cores that the loop would need if rooms did not collect."""
        self.seconds = shortest_seconds

    def observe(self, busy_seconds: float, saved_seconds: float, elapsed_seconds: float) -> None:
        """In the last `elapsed_seconds` the loop was busy for `busy_seconds`, and collecting has saved others."""
        demand = min(1.0, busy_seconds / elapsed_seconds) + saved_seconds / elapsed_seconds
        constant = _RISE_SECONDS if demand > self.demand else _FALL_SECONDS
        self.demand += (demand - self.demand) * (1 - math.exp(-elapsed_seconds / constant))
        wanted = _SECONDS_PER_CORE * max(0.0, self.demand - _FREE_DEMAND)
        self.seconds = max(self._shortest_seconds, min(self._longest_seconds, wanted))

    @property
    def pause_seconds(self) -> float:
        """How long the loop pauses before it reads again; 0 for not at all."""
        pause = min(_LONGEST_PAUSE_SECONDS, self.seconds / _PAUSES)
        return pause if pause >= _SHORTEST_PAUSE_SECONDS else 0.0


class Collection:
    """The scheduler's side of a room: when its collection ends, and whether it wants to send."""

    __slots__ = ("_scheduler", "ends_at", "first", "flush", "requests", "stretch")

    def __init__(
        self, scheduler: "FlushScheduler", flush: Callable[[], None] = lambda: None, *, stretch: float = 1.0
    ) -> None:
        """`flush` sends what the room has collected. It must not raise. `stretch`: see there."""
        self._scheduler = scheduler
        self.flush = flush
        self.stretch = stretch
        """How many times longer it collects than others while that is not longer than `_STRETCHED_SECONDS`."""
        self.first: Callable[[], None] | None = None
        """Called once, before the next flush."""
        self.requests = 0
        """How often a flush was requested since the last one. The scheduler sets it to 0 before it flushes."""
        self.ends_at = 0.0
        """Monotonic seconds. The scheduler sets it after each flush."""

    def request_flush(self) -> None:
        """The room has something to send. Flush it in this pass of the loop, or when its collection ends."""
        self.requests += 1
        if self.requests == 1:
            self._scheduler.add(self)

    def request_flush_with(self, first: Callable[[], None]) -> None:
        """Request a flush that calls `first` at its beginning."""
        self.first = first
        self.request_flush()


class FlushScheduler:
    def __init__(
        self,
        longest_seconds: float,
        busy_seconds: Callable[[], float],
        *,
        shortest_seconds: float = 0.0,
        pause: Callable[[float], None] = lambda _seconds: None,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """`longest_seconds`, `shortest_seconds`: of a collection.

        `busy_seconds`: returns for how long the event loop was busy so far. `pause`: called with the time for which the
        loop should pause before it reads again; 0 for not at all. `call_soon`: calls a function when the sockets are
        handled that are ready now. Without it, the next iteration of the loop does.
        """
        self._time = CollectionTime(longest_seconds, shortest_seconds)
        self._busy_seconds = busy_seconds
        self._pause = pause
        self._call_soon = call_soon
        self._flush_due = self._flush
        self._sampled_at, self._sampled_busy_seconds = time.monotonic(), busy_seconds()
        self._saved_seconds = 0.0
        """The time since the last sample that more flushes would have taken without collecting."""
        self._waiting: list[tuple[float, int, Collection]] = []
        """A heap of collections by their ends."""
        self._order = count()
        self._timer: asyncio.Handle | None = None
        self._timer_at = math.inf

    @property
    def collection_seconds(self) -> float:
        """The present collection time. 0 if nothing was flushed for a while."""
        return self._time.seconds if time.monotonic() - self._sampled_at < _QUIET_SECONDS else 0.0

    def add(self, collection: Collection) -> None:
        heappush(self._waiting, (collection.ends_at, next(self._order), collection))
        if collection.ends_at < self._timer_at:
            self._set_timer(collection.ends_at)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = at - time.monotonic()
        if wait >= _TIMER_SECONDS:
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_later(wait, self._flush_due)
            return
        self._timer_at = _NOW
        if self._call_soon is not None:
            self._call_soon(self._flush_due)
        else:
            asyncio.get_running_loop().call_soon(self._flush_due)

    def _flush(self) -> None:
        """Flush the rooms whose collections have ended, the earliest first."""
        self._timer, self._timer_at = None, math.inf
        now = time.monotonic()
        self._sample(now)
        seconds, waiting = self._time.seconds, self._waiting
        end = now + max(_TIMER_SECONDS, seconds / _SLACK, self._time.pause_seconds)
        try:
            for _ in range(len(waiting)):
                if waiting[0][0] > end:
                    break
                collection = heappop(waiting)[2]
                requests, collection.requests = collection.requests, 0
                if collection.first is not None:
                    first, collection.first = collection.first, None
                    first()
                collection.flush()
                flushed = time.monotonic()
                self._saved_seconds += (requests - 1) * (flushed - now)
                collecting = max(seconds, min(seconds * collection.stretch, _STRETCHED_SECONDS))
                collection.ends_at = max(now + collecting, flushed + _REST_FACTOR * (flushed - now))
                now = flushed
        finally:
            if waiting:
                self._set_timer(waiting[0][0])

    # --- load ---------------------------------------------------------------------------------------------

    def _sample(self, now: float) -> None:
        elapsed = now - self._sampled_at
        if elapsed < _SAMPLE_SECONDS:
            return
        busy = self._busy_seconds()
        self._time.observe(busy - self._sampled_busy_seconds, self._saved_seconds, elapsed)
        self._saved_seconds = 0.0
        self._sampled_at, self._sampled_busy_seconds = now, busy
        self._pause(self._time.pause_seconds)
