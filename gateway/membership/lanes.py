"""The order and the concurrency of requests to presence, for each kind of request and each shard.

A request holds a slot for one attempt. For the next attempt it waits for another slot, before all later requests. A
shard without useful answers gets one request at a time, with growing pauses, until it answers. Other shards are not
affected.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from studyroom.shared.chassis.bulkheads import Bulkheads, Permit

_FIRST_SPACING_SECONDS = 0.05
_SPACING_MAX_SECONDS = 0.4
"""The longest pause between two attempts in a shard that does not answer. It is as long as an attempt, so that joins
have as many attempts there as elsewhere."""


class Lane:
    def __init__(self, *, own: int, shared: int) -> None:
        """`own`: concurrent requests of each shard. `shared`: additional ones for all shards that answer."""
        self._slots = Bulkheads(own=own, shared=shared)
        self._answered_at: dict[int, float] = {}
        self._spacing: dict[int, float] = {}
        self._unanswered_at: dict[int, float] = {}

    @property
    def waiting(self) -> int:
        return self._slots.waiting

    def waiting_in(self) -> dict[int, int]:
        """How many requests of each shard wait for a slot."""
        return {shard: count for shard, count in self._slots.waiting_in().items() if isinstance(shard, int)}

    def number(self) -> int:
        return self._slots.number()

    def queue(self, shard: int, number: int) -> Permit:
        return self._slots.queue(shard, number)

    def release(self, permit: Permit) -> None:
        self._slots.release(permit)

    def answered_at(self, shard: int) -> float:
        """When the last useful answer came (event loop time); 0 if there was none."""
        return self._answered_at.get(shard, 0.0)

    def unanswered_at(self, shard: int) -> float:
        """When the last attempt without an answer ended (event loop time); 0 if there was none."""
        return self._unanswered_at.get(shard, 0.0)

    def answers(self, shard: int) -> bool:
        """False while the shard does not answer."""
        return not self._slots.is_restricted(shard)

    def answered(self, shard: int) -> None:
        """A useful answer to any request came."""
        self._answered_at[shard] = asyncio.get_running_loop().time()
        self._spacing.pop(shard, None)
        self._slots.relax(shard)

    def unanswered(self, shard: int, sent_at: float) -> None:
        """An attempt that was sent at `sent_at` (event loop time) had no useful answer."""
        if self.answered_at(shard) >= sent_at:
            return  # other requests got answers meanwhile
        self._unanswered_at[shard] = asyncio.get_running_loop().time()
        spacing = self._spacing.get(shard, _FIRST_SPACING_SECONDS)
        self._spacing[shard] = min(2 * spacing, _SPACING_MAX_SECONDS)
        self._slots.restrict(shard, sent_at + spacing)


class Patience:
    """The deadline of a request, which starts with the first attempt.

    Before that, the request waits for a slot: for any time while the shard answers others, otherwise for `seconds`.
    Raises TimeoutError as a context manager.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._began = 0.0
        self.when_started: Callable[[], None] = lambda: None
        """Called at the first attempt."""
        self.started = False
        """The first attempt was made, so presence may carry out the request."""
        self.deadline = 0.0
        """Event loop time; 0 before the first attempt."""

    async def __aenter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        await self._timeout.__aenter__()
        self._timeout.reschedule(self._began + self._seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._timeout.__aexit__(kind, error, traceback)

    def remaining(self, answered_at: float) -> float | None:
        """How many more seconds to wait for a slot; None for no limit. `answered_at`: of the shard's last answer."""
        if self.started:
            return None  # the deadline is running
        self._timeout.reschedule(None)
        return max(self._began, answered_at) + self._seconds - asyncio.get_running_loop().time()

    def start(self, answered_at: float) -> None:
        """Start the deadline, at the first attempt. `answered_at`: of the shard's last answer."""
        if self.started:
            return
        self.started = True
        self.deadline = max(self._began, answered_at) + self._seconds
        self._timeout.reschedule(self.deadline)
        self.when_started()
