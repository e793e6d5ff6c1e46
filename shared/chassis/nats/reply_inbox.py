"""Receives answers to many questions on one subscription.

Each question has its own subject for answers. The caller chooses what represents a question: a future, a callback, or a
batch that grows. The inbox sets no deadlines. Callers that wait for a question bound their wait, and callers that do
not wait look through `waiting` now and then.
"""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from studyroom.shared.chassis.nats.messages import Message

Question = TypeVar("Question")


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
