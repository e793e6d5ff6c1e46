"""Requests to the presence service.

A question is asked again while it has no answer, and any answer to any of its attempts will do: a replica that is
frozen or gone must not decide how long a join takes, when another one is well. Requests are idempotent, so being
carried out twice is harmless; being carried out *late* is not, so late answers to joins are handed over too.

Each kind of question has a lane of its own, and in it each shard: see `lanes`.
"""

import asyncio
import functools
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from studyroom.gateway.membership.lanes import Lane, Patience
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import MembershipId, RoomId
from studyroom.shared.contract.presence import (
    CompareReply,
    CompareRequest,
    CompleteReply,
    CompleteRequest,
    JoinRequest,
    LeaveReply,
    LeaveRequest,
    Outcome,
    RoomConnection,
    RoomsReply,
    RoomsRequest,
    RosterReply,
    RosterRequest,
)

log = logs.get(__name__)

_ATTEMPT_SECONDS = 0.4
"""NATS gives each attempt to a replica by chance. With one of two frozen, the twelve attempts that fit into a join's
deadline all miss the other one in 0.02 % of joins."""
_PATIENT_GROWTH = 1.5
_UNANSWERED_BEFORE_PATIENCE = 10
"""Attempts without any answer while others are answered: most likely a replica is frozen, and the next attempt may find
another one. Of forty that leave at once, growing patience from the first would keep the last one for 15 s in one case
of twenty; so, 4 s."""
_PATIENCE_MAX = 12.0
_UNAVAILABLE_WAIT_SECONDS = 0.05
"""Before asking again when the answer was that nobody, or not this replica, can answer now."""
_SILENT_SECONDS = 30.0
"""A shard in which a room is hosted is asked every ten seconds."""
SHARED = 32
"""Questions of one kind at a time, beside one of each shard (docs/decisions/0010)."""

Reply = TypeVar("Reply", RosterReply, LeaveReply, CompleteReply, CompareReply, RoomsReply)
_AnyReply = RosterReply | LeaveReply | CompleteReply | CompareReply | RoomsReply
Late = Callable[[RoomConnection], None]


class PresenceRefused(Exception):
    """Presence does not understand the request; asking again will not help."""


class RoomFull(PresenceRefused):
    """The room has as many members as it may have."""


class MembersStorageFull(PresenceRefused):
    """The bucket of members is nearly full; later it may not be."""


class _JoinAttempt:
    """A question, and what has been heard of it."""

    def __init__(self, subject: str, kind: type[_AnyReply], answered: Callable[[], None]) -> None:
        """`answered` is called when a useful answer comes."""
        loop = asyncio.get_running_loop()
        self.subject = subject
        self._kind = kind
        self._answered = answered
        self._parts: dict[str, list[RosterReply]] = defaultdict(list)
        """Rosters that came in part, by the id of the answer."""
        self.answer: asyncio.Future[Any] = loop.create_future()
        self.useless: asyncio.Future[Any] = loop.create_future()
        """Done when an answer came that is no use."""

    def take(self, data: bytes) -> None:
        """An answer to any of the attempts."""
        if self.answer.done():
            return
        reply: _AnyReply | None = _decode(data, self._kind)
        if isinstance(reply, RosterReply) and reply.storage_full:
            self._answered()
            self.answer.set_exception(MembersStorageFull("there is no room for more members of rooms"))
            return
        if reply is None or reply.outcome is Outcome.UNAVAILABLE:
            if not self.useless.done():
                self.useless.set_result(None)
            return
        self._answered()
        if reply.outcome is Outcome.FULL:
            self.answer.set_exception(RoomFull("the room has as many members as it may have"))
        elif reply.outcome is Outcome.TOO_LONG:
            self.answer.set_exception(PresenceRefused("the user has as many connections in this room as fit"))
        elif reply.outcome is Outcome.INVALID:
            self.answer.set_exception(PresenceRefused("presence does not understand this gateway"))
        elif not isinstance(reply, RosterReply) or reply.parts == 1:
            self.answer.set_result(reply)
        else:
            gathered = self._parts[reply.answer]
            gathered.append(reply)
            if len(gathered) == reply.parts:
                members = [member for part in gathered for member in part.members or []]
                self.answer.set_result(reply.model_copy(update={"members": members, "parts": 1}))

    async def was_answered(self, seconds: float) -> bool:
        """Whether an answer of either kind comes in time."""
        if self.useless.done():
            self.useless = asyncio.get_running_loop().create_future()
        was_answered, _ = await asyncio.wait(
            [self.answer, self.useless], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        return bool(was_answered)

    def forget(self) -> None:
        """Nobody waits any more."""
        if not self.answer.cancel() and not self.answer.cancelled():
            self.answer.exception()  # whoever asked may have gone before it came


class PresenceClient:
    """Every request asks until it is answered: bound them with a timeout. Cancelling leaves the outcome unknown."""

    def __init__(self, bus: Bus, *, late_join: Late) -> None:
        """`late_join` is called with what was joined, when nobody waits for that answer any more."""
        self._bus = bus
        self._late_join = late_join
        self._inbox = ""
        self._count = 0
        self._waiting: dict[str, _JoinAttempt] = {}
        self._unserved: set[str] = set()
        """Subjects at which nobody listened the last time."""
        self._joins = Lane(own=1, shared=SHARED)
        self._restores = Lane(own=1, shared=SHARED)
        self._leaves = Lane(own=1, shared=SHARED)
        self._reads = Lane(own=1, shared=SHARED)
        self._checks = Lane(own=2, shared=0)
        self.lanes = {
            "join": self._joins,
            "restore": self._restores,
            "leave": self._leaves,
            "read": self._reads,
            "check": self._checks,
        }
        """By kind of question."""

    async def start(self) -> None:
        self._inbox = self._bus.new_inbox()
        await self._bus.subscribe(f"{self._inbox}.*", self._on_reply)

    async def join(
        self, room: RoomId, request: Callable[[], JoinRequest], *, patience: Patience, restores: bool = False
    ) -> RosterReply:
        """`request` is called when the question is put for the first time; it may raise.

        `restores`: a connection that was in the room before. Raises PresenceRefused, or TimeoutError when nobody gets
        through.
        """
        shard = subjects.shard_of(room)
        lane = self._restores if restores else self._joins
        return await self._ask(
            lane, shard, subjects.presence_join(shard), lambda: request().encode(), RosterReply, patience=patience
        )

    async def leave(self, request: LeaveRequest) -> LeaveReply:
        """Asks less and less often, for nobody waits for it. Raises PresenceRefused."""
        shard = subjects.shard_of(request.room)
        subject = subjects.presence_leave(shard)
        return await self._ask(self._leaves, shard, subject, request.encode, LeaveReply, growth=_PATIENT_GROWTH)

    async def roster(self, room: RoomId) -> RosterReply:
        """Raises PresenceRefused."""
        shard = subjects.shard_of(room)
        request = RosterRequest(room=room)
        return await self._ask(self._reads, shard, subjects.presence_roster(shard), request.encode, RosterReply)

    async def complete(self, request: CompleteRequest) -> CompleteReply:
        """Raises PresenceRefused."""
        shard = request.shard
        subject = subjects.presence_complete(shard)
        missing: set[MembershipId] | None = set()
        for part in request.split(self._bus.max_payload_bytes):
            reply = await self._ask(self._checks, shard, subject, part.encode, CompleteReply)
            missing = None if missing is None or reply.missing is None else missing | reply.missing
        return reply.model_copy(update={"missing": missing})

    async def compare(self, shard: int, request: CompareRequest) -> CompareReply:
        """In several questions where one would be too long: the answer is as of the oldest, with what is `newer` or
        `wrong` by any. Raises PresenceRefused.
        """
        subject = subjects.presence_compare(shard)
        answers = [
            await self._ask(self._checks, shard, subject, part.encode, CompareReply)
            for part in request.split(self._bus.max_payload_bytes)
        ]
        if len(answers) == 1:
            return answers[0]
        newer = {room: revision for answer in answers for room, revision in answer.newer.items()}
        wrong = [room for answer in answers for room in answer.wrong]
        other = next((answer for answer in answers if answer.epoch != request.epoch), answers[0])
        revision = min(answer.revision for answer in answers if answer.epoch == other.epoch)
        return other.model_copy(update={"revision": revision, "newer": newer, "wrong": wrong})

    async def rooms(self, request: RoomsRequest) -> RoomsReply:
        """Raises PresenceRefused."""
        shard = request.shard
        return await self._ask(self._reads, shard, subjects.presence_rooms(shard), request.encode, RoomsReply)

    def silent_shards(self) -> list[int]:
        """Those whose last question, of late, was not answered, and no other one since."""
        lanes, recently = self.lanes.values(), _now() - _SILENT_SECONDS
        return [
            shard
            for shard in range(subjects.SHARDS)
            if (asked := max(lane.unanswered_at(shard) for lane in lanes)) > recently
            and asked > max(lane.answered_at(shard) for lane in lanes)
        ]

    def why_unavailable(self, subject: str) -> str:
        """For people, after a request on this subject got no answer in time."""
        if subject in self._unserved:
            return f"no presence replica serves shard {subject.split('.')[1]} now"
        return "presence did not answer in time"

    async def _ask(
        self,
        lane: Lane,
        shard: int,
        subject: str,
        request: Callable[[], bytes],
        kind: type[Reply],
        *,
        growth: float = 1.0,
        patience: Patience | None = None,
    ) -> Reply:
        """`growth`: of the time between attempts, while others in the shard are answered and this is not."""
        self._count += 1
        token = str(self._count)
        question = self._waiting[token] = _JoinAttempt(subject, kind, functools.partial(lane.answered, shard))
        number = lane.number()
        payload: bytes | None = None
        was_answered, undelivered = False, 0
        factor = 1.0
        try:
            while True:
                slot = lane.queue(shard, number)
                try:
                    while not (slot.done() or question.answer.done()):
                        await _either(slot, question.answer, patience, lane.answered_at(shard))
                    asked_at = _now()
                    if not question.answer.done():
                        if payload is None:
                            payload = request()
                        if patience is not None:
                            patience.ask(asked_at if lane.answers(shard) else lane.answered_at(shard))
                        self._bus.publish(subject, payload, reply=f"{self._inbox}.{token}")
                        was_answered = await question.was_answered(_ATTEMPT_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                    if question.answer.done():
                        reply: Reply = question.answer.result()
                        return reply
                    lane.unanswered(shard, asked_at)
                finally:
                    lane.release(slot)
                undelivered += not was_answered
                if lane.answers(shard) and (was_answered or undelivered > _UNANSWERED_BEFORE_PATIENCE):
                    factor = min(factor * growth, _PATIENCE_MAX)
                pause_seconds = _UNAVAILABLE_WAIT_SECONDS * factor if was_answered else _ATTEMPT_SECONDS * (factor - 1)
                if pause_seconds > 0:
                    await asyncio.wait([question.answer], timeout=pause_seconds)
        finally:
            del self._waiting[token]
            question.forget()

    def _on_reply(self, message: Message) -> None:
        question = self._waiting.get(message.subject.rsplit(".", 1)[1])
        if question is not None:
            if message.data:
                self._unserved.discard(question.subject)
            else:
                self._unserved.add(question.subject)
            question.take(message.data)
            return
        late = _decode(message.data, RosterReply)
        if isinstance(late, RosterReply) and late.outcome is Outcome.OK and late.joined is not None:
            self._late_join(late.joined)


async def _either(
    slot: asyncio.Future[None], answer: asyncio.Future[Any], patience: Patience | None, answered_at: float
) -> None:
    """Returns when one is done or time has passed. Raises TimeoutError when nobody gets through."""
    seconds = patience.left(answered_at) if patience is not None else None
    if seconds is not None and seconds <= 0:
        raise TimeoutError
    await asyncio.wait([slot, answer], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _decode(data: bytes, kind: type[_AnyReply]) -> _AnyReply | None:
    """None for what is no answer: NATS says with an empty message that nobody listens."""
    if not data:
        return None
    try:
        return kind.decode(data)
    except ValidationError as error:
        log.error("an answer of presence is not ours", error=str(error))
        return None
