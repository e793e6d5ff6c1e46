"""Answers the questions of `studyroom room` and `studyroom user` about this process.

It reads what the process has, and changes nothing. One answer is one message, and takes no longer than a look through
the members of a room or the connections of the process.
"""

import os
import socket
from collections.abc import Callable
from typing import Protocol

from pydantic import ValidationError

from studyroom.shared.chassis import logs, recent_problems
from studyroom.shared.chassis.nats.bus import Bus, Message, Subscription, SubscriptionRefused
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.inspection import Process, Question

log = logs.get(__name__)


class Answer(Protocol):
    def encode(self) -> bytes: ...


class Inspected(Protocol):
    """The part of a service that has the answers."""

    def of_room(self, room: RoomId, question: Question, process: Process, /) -> Answer: ...
    def of_user(self, user: UserId, process: Process, /) -> Answer: ...


class Answers:
    def __init__(self, bus: Bus, inspected: Inspected, not_ready: Callable[[], list[str]]) -> None:
        """Create it. `not_ready`: returns why the service cannot serve now."""
        self._bus = bus
        self._inspected = inspected
        self._not_ready = not_ready
        self._host = socket.gethostname()
        self._subscription: Subscription | None = None

    async def listen(self, subject: str) -> None:
        """Answer questions from now on. If NATS does not allow that, log it: the service works all the same."""
        try:
            self._subscription = await self._bus.subscribe(subject, self.take, refused=self._refused)
        except SubscriptionRefused as error:
            self._refused(str(error))

    def _refused(self, reason: str) -> None:
        log.warning("the inspector cannot see this process, because NATS refuses the subscription", reason=reason)
        if self._subscription is not None:
            self._subscription.forget()
            self._subscription = None

    def take(self, message: Message) -> None:
        """Answer one question: the handler of a subscription."""
        if not message.reply:
            return
        try:
            question = Question.decode(message.data)
        except ValidationError as error:
            log.error("cannot decode a question of the inspector", error=str(error))
            return
        if (answer := self._answer(question)) is not None:
            self._bus.publish(message.reply, answer.encode())

    def _answer(self, question: Question) -> Answer | None:
        if question.room is not None:
            process = self._process(question.room, with_problems=not question.parts)
            return self._inspected.of_room(question.room, question, process)
        if question.user is not None:
            return self._inspected.of_user(question.user, self._process(question.user, with_problems=True))
        return None  # a newer inspector may ask about something else

    def _process(self, about: str, *, with_problems: bool) -> Process:
        return Process.model_construct(
            host=self._host,
            pid=os.getpid(),
            nats=self._bus.connection_id,
            not_ready=[*self._bus.problems, *self._not_ready()] if with_problems else [],
            problems=recent_problems.newest_about(about) if with_problems else [],
        )
