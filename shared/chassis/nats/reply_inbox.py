"""Receives answers to many questions on one subscription.

Each question has its own subject for answers. The caller chooses what represents a question: a future, a callback, or a
batch that grows. The inbox sets no deadlines. Callers that wait for a question bound their wait, and callers that do
not wait look through `waiting` now and then, as `Acknowledgements` does.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from studyroom.shared.chassis.nats.messages import Message
from studyroom.shared.chassis.ticks import next_tick

_SWEEP_SECONDS = 0.25
_SETTLE_POLL_SECONDS = 0.01


class Publication(Protocol):
    """A message that was published to a stream."""

    @property
    def published(self) -> float:
        """When, in monotonic seconds."""


Question = TypeVar("Question")
Published = TypeVar("Published", bound=Publication)


class ReplyInbox(Generic[Question]):
    """An inbox, which `Bus.open_inbox` subscribes. The subscription and the questions survive reconnects."""

    def __init__(
        self, answered: Callable[[Question, Message], None], *, late: Callable[[Message], None] | None = None
    ) -> None:
        """Create an inbox. The callbacks must not block.

        `answered`: called with each answer to an open question, of which several may come.
        `late`: called with each answer that comes after its question was closed. Without it, they are ignored.
        """
        self._answered = answered
        self._late = late
        self._prefix = ""
        self._count = 0
        self._waiting: dict[str, Question] = {}

    @property
    def waiting(self) -> Mapping[str, Question]:
        """Questions that are not closed, by the subject of their answers, oldest first."""
        return self._waiting

    @property
    def is_open(self) -> bool:
        return bool(self._prefix)

    def opened(self, subject: str) -> None:
        """Use subjects one token below `subject`, on which the bus now receives answers. The bus calls this."""
        self._prefix = f"{subject}."

    def expect(self, question: Question) -> str:
        """Return the subject for answers to a question. Call `close` in the end, or the inbox keeps it for ever."""
        self._count += 1
        reply = f"{self._prefix}{self._count}"
        self._waiting[reply] = question
        return reply

    def close(self, reply: str) -> Question | None:
        """Wait for no more answers on this subject. Returns the question, or None if it was closed before."""
        return self._waiting.pop(reply, None)

    def receive(self, message: Message) -> None:
        """Handle a message of the subscription. The bus calls this."""
        question = self._waiting.get(message.subject)
        if question is not None:
            self._answered(question, message)
        elif self._late is not None:
            self._late(message)


class Acknowledgements(ReplyInbox[Published]):
    """An inbox for the acknowledgements of a stream. Nobody waits for them, so one task gives up what is overdue."""

    async def sweep(self, deadline_seconds: float, give_up: Callable[[str], None]) -> None:
        """Call `give_up` with the subject of each acknowledgement that is missing for so long. Never returns.

        One task for all, because a timer for each would cost more than the message.
        """
        while True:
            await next_tick(_SWEEP_SECONDS)
            for reply in list(self._published_by(time.monotonic() - deadline_seconds)):
                give_up(reply)

    async def settled(self) -> None:
        """Returns when everything published before is acknowledged or given up. The deadline of `sweep` bounds it."""
        now = time.monotonic()
        while any(self._published_by(now)):
            await asyncio.sleep(_SETTLE_POLL_SECONDS)

    def _published_by(self, until: float) -> Iterator[str]:
        """The subjects of acknowledgements that are missing for what was published up to then (monotonic seconds)."""
        for reply, publication in self.waiting.items():
            if publication.published > until:
                return
            yield reply
