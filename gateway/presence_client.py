"""Requests to the presence service.

A question is asked again while it has no answer, and any answer to any of its attempts will do: a replica that is
frozen or gone must not decide how long a join takes, when another one is well. Requests are idempotent, so being
carried out twice is harmless; being carried out *late* is not, so late answers to joins are handed over too.
"""

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from services import logs
from services.bus import Bus, Message
from shared import subjects
from shared.ids import RoomId
from shared.presence import (
    CompareReply,
    CompareRequest,
    CompleteRequest,
    JoinRequest,
    LeaveReply,
    LeaveRequest,
    Outcome,
    Place,
    RosterReply,
    RosterRequest,
)

log = logs.get(__name__)

_ASK_AGAIN_SECONDS = 0.4
"""NATS gives each attempt to a replica by chance. With one of two frozen, the twelve attempts that fit into a join's
deadline all miss the other one in 0.02 % of joins."""
_PATIENT_GROWTH = 1.5
_PATIENCE_MAX = 12.0
_UNAVAILABLE_WAIT_SECONDS = 0.05
"""Before asking again when the answer was that nobody, or not this replica, can answer now."""

Reply = TypeVar("Reply", RosterReply, LeaveReply, CompareReply)
Late = Callable[[Place], None]


class PresenceRefused(Exception):
    """Presence does not understand the request; asking again will not help."""


class RoomFull(PresenceRefused):
    """The room has as many members as it may have."""


class PresenceClient:
    """Every request asks until it is answered: bound them with a timeout. Cancelling leaves the outcome unknown."""

    def __init__(self, bus: Bus, *, late_join: Late) -> None:
        """`late_join` is called with what was joined, when nobody waits for that answer any more."""
        self._bus = bus
        self._late_join = late_join
        self._inbox = ""
        self._count = 0
        self._waiting: dict[str, asyncio.Queue[bytes]] = {}

    async def start(self) -> None:
        self._inbox = self._bus.new_inbox()
        await self._bus.subscribe(f"{self._inbox}.*", self._on_reply)

    async def join(self, request: JoinRequest) -> RosterReply:
        """Raises PresenceRefused."""
        return await self._ask(subjects.presence_join(subjects.shard_of(request.room)), request.encode(), RosterReply)

    async def leave(self, request: LeaveRequest) -> LeaveReply:
        """Asks less and less often, for nobody waits for it. Raises PresenceRefused."""
        subject = subjects.presence_leave(subjects.shard_of(request.room))
        return await self._ask(subject, request.encode(), LeaveReply, growth=_PATIENT_GROWTH)

    async def roster(self, room: RoomId) -> RosterReply:
        """Raises PresenceRefused."""
        subject = subjects.presence_roster(subjects.shard_of(room))
        return await self._ask(subject, RosterRequest(room=room).encode(), RosterReply)

    async def complete(self, request: CompleteRequest) -> LeaveReply:
        """Raises PresenceRefused."""
        return await self._ask(subjects.presence_complete(request.shard), request.encode(), LeaveReply)

    async def compare(self, shard: int, request: CompareRequest) -> CompareReply:
        """Raises PresenceRefused."""
        return await self._ask(subjects.presence_compare(shard), request.encode(), CompareReply)

    async def _ask(self, subject: str, request: bytes, kind: type[Reply], *, growth: float = 1.0) -> Reply:
        self._count += 1
        token = str(self._count)
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting[token] = answers
        patience = 1.0
        try:
            while True:
                self._bus.publish(subject, request, reply=f"{self._inbox}.{token}")
                jitter = random.uniform(0.8, 1.2)  # noqa: S311 - jitter
                reply = await self._next_answer(answers, kind, patience * jitter)
                if reply is not None:
                    return reply
                patience = min(patience * growth, _PATIENCE_MAX)
        finally:
            del self._waiting[token]

    async def _next_answer(self, answers: "asyncio.Queue[bytes]", kind: type[Reply], patience: float) -> Reply | None:
        """None when it is time to ask again. `patience` multiplies how long that takes."""
        try:
            async with asyncio.timeout(_ASK_AGAIN_SECONDS * patience):
                reply = _decode(await answers.get(), kind)
        except TimeoutError:
            return None
        if reply is not None and reply.outcome is Outcome.OK:
            return reply
        if reply is not None and reply.outcome is Outcome.FULL:
            raise RoomFull("the room has as many members as it may have")
        if reply is not None and reply.outcome is Outcome.INVALID:
            raise PresenceRefused("presence does not understand this gateway")
        await asyncio.sleep(_UNAVAILABLE_WAIT_SECONDS * patience)
        return None

    def _on_reply(self, message: Message) -> None:
        answers = self._waiting.get(message.subject.rsplit(".", 1)[1])
        if answers is not None:
            answers.put_nowait(message.data)
            return
        late = _decode(message.data, RosterReply)
        if late is not None and late.outcome is Outcome.OK and late.joined is not None:
            self._late_join(late.joined)


def _decode(data: bytes, kind: type[Reply]) -> Reply | None:
    """None for what is no answer: NATS says with an empty message that nobody listens."""
    if not data:
        return None
    try:
        return kind.decode(data)
    except ValidationError as error:
        log.error("an answer of presence is not ours", error=str(error))
        return None
