"""In which order, and how many at a time, questions of one kind are put to presence: each shard for itself.

A slot is held for one attempt. Whoever must try again waits for the next slot in its old place. A shard that gives no
useful answer is asked one question at a time, less and less often, until it answers: the others do not notice.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from studyroom.shared.chassis.bulkheads import Bulkheads, Permit

_FIRST_SPACING_SECONDS = 0.05
_SPACING_MAX_SECONDS = 0.4
"""Between two attempts in a shard that does not answer: as long as an attempt, so that a join has as many there."""


class Lane:
    def __init__(self, *, own: int, shared: int) -> None:
        """`own`: questions at a time of each shard; `shared`: more, for shards that answer."""
        self._slots = Bulkheads(own=own, shared=shared)
        self._answered_at: dict[int, float] = {}
        self._spacing: dict[int, float] = {}
        self._unanswered_at: dict[int, float] = {}

    @property
    def waiting(self) -> int:
        return self._slots.waiting

    def waiting_in(self) -> dict[int, int]:
        """By shard, questions that wait for a slot."""
        return {shard: count for shard, count in self._slots.waiting_in().items() if isinstance(shard, int)}

    def number(self) -> int:
        return self._slots.number()

    def queue(self, shard: int, number: int) -> Permit:
        return self._slots.queue(shard, number)

    def release(self, permit: Permit) -> None:
        self._slots.release(permit)

    def answered_at(self, shard: int) -> float:
        """When the last useful answer came (seconds of the event loop); 0 before the first."""
        return self._answered_at.get(shard, 0.0)

    def unanswered_at(self, shard: int) -> float:
        """When an attempt was last given up (seconds of the event loop); 0 before the first."""
        return self._unanswered_at.get(shard, 0.0)

    def answers(self, shard: int) -> bool:
        """False while nobody answers in the shard."""
        return not self._slots.is_restricted(shard)

    def answered(self, shard: int) -> None:
        """A useful answer came, to whichever question."""
        self._answered_at[shard] = asyncio.get_running_loop().time()
        self._spacing.pop(shard, None)
        self._slots.relax(shard)

    def unanswered(self, shard: int, asked_at: float) -> None:
        """An attempt of then had no useful answer."""
        if self.answered_at(shard) >= asked_at:
            return  # others were answered meanwhile
        self._unanswered_at[shard] = asyncio.get_running_loop().time()
        spacing = self._spacing.get(shard, _FIRST_SPACING_SECONDS)
        self._spacing[shard] = min(2 * spacing, _SPACING_MAX_SECONDS)
        self._slots.restrict(shard, asked_at + spacing)


class Patience:
    """How long someone waits for presence: a deadline that begins with the first question.

    Before that they wait for a slot: for as long as others of the shard get through, and no longer than the deadline
    without that. As a context: raises TimeoutError.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._began = 0.0
        self.when_asked: Callable[[], None] = lambda: None
        """Called when the first question is put."""
        self.asked = False
        """The first question has been put: presence may act upon it."""
        self.deadline = 0.0
        """In seconds of the event loop, once the first question has been put."""

    async def __aenter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        await self._timeout.__aenter__()
        self._timeout.reschedule(self._began + self._seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._timeout.__aexit__(kind, error, traceback)

    def left(self, answered_at: float) -> float | None:
        """For how many seconds more a slot is waited for, when the shard's last answer was then; None for any time."""
        if self.asked:
            return None  # the deadline runs
        self._timeout.reschedule(None)
        return max(self._began, answered_at) + self._seconds - asyncio.get_running_loop().time()

    def ask(self, answered_at: float) -> None:
        """A question is put."""
        if self.asked:
            return
        self.asked = True
        self.deadline = max(self._began, answered_at) + self._seconds
        self._timeout.reschedule(self.deadline)
        self.when_asked()
