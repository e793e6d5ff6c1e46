"""Questions whose answers may come in several messages."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable
from studyroom.shared.chassis.nats.messages import Message
from studyroom.shared.chassis.nats.reply_inbox import ReplyInbox
from studyroom.shared.chassis.tracing.spans import Kind, outgoing, within
from studyroom.shared.contract.headers import STATUS

Answer = TypeVar("Answer")
Made_co = TypeVar("Made_co", covariant=True)


class Parts(Protocol[Made_co]):
    """Puts the messages of one answer together, in any order."""

    def add(self, message: bytes, /) -> Made_co | None:
        """Return the answer if this message completes it. Raises ValueError if it is malformed."""


@dataclass(slots=True)
class _Question(Generic[Answer]):
    answer: "asyncio.Future[Answer]"
    parts: Parts[Answer]


class Questions(Generic[Answer]):
    def __init__(self, bus: Bus, parts: Callable[[], Parts[Answer]], *, of: str) -> None:
        """`of`: the service that answers, for error messages."""
        self._bus = bus
        self._parts = parts
        self._of = of
        self._inbox = ReplyInbox[_Question[Answer]](self._take)
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Subscribe to the answers, unless that was done before."""
        async with self._opening:
            if not self._inbox.is_open:
                await self._bus.open_inbox(self._inbox)

    async def ask(self, subject: str, payload: bytes) -> Answer:
        """Return the answer. Bound it with a timeout. Raises BusUnavailable."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        question = _Question(answer, self._parts())
        reply = self._inbox.expect(question)
        try:
            with within(f"ask the {self._of}", Kind.CLIENT):
                fail = partial(_fail, question, "not connected to NATS")
                self._bus.publish(subject, payload, reply=reply, headers=outgoing(), failed=fail)
                return await answer
        finally:
            self._inbox.close(reply)

    def _take(self, question: _Question[Answer], message: Message) -> None:
        if STATUS in (message.headers or {}):
            _fail(question, f"there is no {self._of}")
            return
        try:
            answer = question.parts.add(message.data)
        except ValueError as error:
            _fail(question, str(error))
            return
        if answer is not None and not question.answer.done():
            question.answer.set_result(answer)


def _fail(question: _Question[Answer], why: str) -> None:
    if not question.answer.done():
        question.answer.set_exception(BusUnavailable(why))
