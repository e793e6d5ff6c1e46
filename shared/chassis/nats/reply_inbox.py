"""Answers to many questions, received on one subscription.

Each question gets a subject of its own, which its answers are sent to. What the table holds for a question is up to
the caller: a future, a callback, a batch that grows. The inbox sets no deadlines either. Callers that wait for a
question bound their wait, and callers that do not wait look through `waiting` now and then.
"""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from studyroom.shared.chassis.nats.messages import Message

Question = TypeVar("Question")


class ReplyInbox(Generic[Question]):
    """`Bus.open_inbox` subscribes it. The subscription survives reconnects, and so do the questions."""

    def __init__(
        self, answered: Callable[[Question, Message], None], *, late: Callable[[Message], None] | None = None
    ) -> None:
        """`answered` is called with each answer to a question that is not closed. Several answers may come.

        `late` is called with each answer that comes after its question was closed. Without it, they are ignored.
        Neither may block.
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
        """Called by the bus: answers are received on all subjects one token below this one."""
        self._prefix = f"{subject}."

    def expect(self, question: Question) -> str:
        """The subject to send answers to. `close` it in the end, or the inbox keeps the question for ever."""
        self._count += 1
        reply = f"{self._prefix}{self._count}"
        self._waiting[reply] = question
        return reply

    def close(self, reply: str) -> Question | None:
        """Wait for no more answers on this subject. Returns the question, or None if it was closed before."""
        return self._waiting.pop(reply, None)

    def receive(self, message: Message) -> None:
        """Called by the bus with every message on the subscription."""
        question = self._waiting.get(message.subject)
        if question is not None:
            self._answered(question, message)
        elif self._late is not None:
            self._late(message)
