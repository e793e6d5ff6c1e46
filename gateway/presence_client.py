"""Requests to the presence service.

A question is asked again while it has no answer, and any answer to any of its attempts will do: a replica that is
frozen or gone must not decide how long a join takes, when another one is well. Requests are idempotent, so being
carried out twice is harmless; being carried out *late* is not, so late answers to joins are handed over too.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
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
    RoomsReply,
    RoomsRequest,
    RosterReply,
    RosterRequest,
)

log = logs.get(__name__)

_ASK_AGAIN_SECONDS = 0.4
"""NATS gives each attempt to a replica by chance. With one of two frozen, the twelve attempts that fit into a join's
deadline all miss the other one in 0.02 % of joins."""
_PATIENT_GROWTH = 1.5
_UNHEARD_BEFORE_PATIENCE = 10
"""Attempts without any answer: most likely a replica is frozen, and the next attempt may find another one. Of forty
that leave at once, growing patience from the first would keep the last one for 15 s in one case of twenty; so, 4 s."""
_PATIENCE_MAX = 12.0
_UNAVAILABLE_WAIT_SECONDS = 0.05
"""Before asking again when the answer was that nobody, or not this replica, can answer now."""

Reply = TypeVar("Reply", RosterReply, LeaveReply, CompareReply, RoomsReply)
_Parts = dict[str, list[RosterReply]]
"""Rosters that came in part, by the id of the answer."""
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
        self._unserved: set[str] = set()
        """Subjects at which nobody listened the last time."""

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
        for part in request.split(self._bus.max_payload_bytes):
            reply = await self._ask(subjects.presence_complete(request.shard), part.encode(), LeaveReply)
        return reply

    async def compare(self, shard: int, request: CompareRequest) -> CompareReply:
        """In several questions where one would be too long: the answer is that of the first, with what is `newer` or
        `wrong` by any. Raises PresenceRefused.
        """
        answers = [
            await self._ask(subjects.presence_compare(shard), part.encode(), CompareReply)
            for part in request.split(self._bus.max_payload_bytes)
        ]
        if len(answers) == 1:
            return answers[0]
        newer = {room: revision for answer in answers for room, revision in answer.newer.items()}
        wrong = [room for answer in answers for room in answer.wrong]
        other = next((answer for answer in answers if answer.epoch != request.epoch), answers[0])
        return other.model_copy(update={"newer": newer, "wrong": wrong})

    async def rooms(self, request: RoomsRequest) -> RoomsReply:
        """Raises PresenceRefused."""
        return await self._ask(subjects.presence_rooms(request.shard), request.encode(), RoomsReply)

    def why_unavailable(self, subject: str) -> str:
        """For people, after a request on this subject got no answer in time."""
        if subject in self._unserved:
            return f"no presence replica serves shard {subject.split('.')[1]} now"
        return "presence did not answer in time"

    async def _ask(self, subject: str, request: bytes, kind: type[Reply], *, growth: float = 1.0) -> Reply:
        self._count += 1
        token = str(self._count)
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting[token] = answers
        patience = 1.0
        unheard = 0
        parts: _Parts = defaultdict(list)
        try:
            while True:
                self._bus.publish(subject, request, reply=f"{self._inbox}.{token}")
                reply, heard = None, False
                with suppress(TimeoutError):
                    async with asyncio.timeout(_ASK_AGAIN_SECONDS * patience * random.uniform(0.8, 1.2)):  # noqa: S311
                        reply = await self._next_answer(subject, answers, parts, kind)
                        heard = True
                        if reply is None:
                            await asyncio.sleep(_UNAVAILABLE_WAIT_SECONDS * patience)
                if reply is not None:
                    return reply
                unheard += not heard
                if heard or unheard > _UNHEARD_BEFORE_PATIENCE:
                    patience = min(patience * growth, _PATIENCE_MAX)
        finally:
            del self._waiting[token]

    async def _next_answer(
        self, subject: str, answers: "asyncio.Queue[bytes]", parts: _Parts, kind: type[Reply]
    ) -> Reply | None:
        """None when the answer is no use. Raises PresenceRefused."""
        while True:
            reply = self._take(subject, await answers.get(), kind)
            if not isinstance(reply, RosterReply) or reply.parts == 1:
                return reply
            gathered = parts[reply.answer]
            gathered.append(reply)
            if len(gathered) == reply.parts:
                members = [member for part in gathered for member in part.members or []]
                return reply.model_copy(update={"members": members, "parts": 1})

    def _take(self, subject: str, answer: bytes, kind: type[Reply]) -> Reply | None:
        """None for an answer that is no use. Raises PresenceRefused."""
        if answer:
            self._unserved.discard(subject)
        else:
            self._unserved.add(subject)
        reply = _decode(answer, kind)
        if reply is None or reply.outcome is Outcome.UNAVAILABLE:
            return None
        if reply.outcome is Outcome.FULL:
            raise RoomFull("the room has as many members as it may have")
        if reply.outcome is Outcome.TOO_LONG:
            raise PresenceRefused("the user has as many connections in this room as fit")
        if reply.outcome is Outcome.INVALID:
            raise PresenceRefused("presence does not understand this gateway")
        return reply

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
