"""Requests to the presence service.

The gateway asks a question again until it has an answer, and any answer to any attempt will do: a frozen or dead
replica must not delay a join when another replica is well. Requests are idempotent, so it is harmless when presence
carries one out twice. A join that presence carries out *late* is not harmless, so late answers reach a handler too.

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
from studyroom.shared.chassis.nats.reply_inbox import ReplyInbox
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
"""NATS chooses the replica of each attempt at random. With one of two frozen, all twelve attempts within a join's
deadline miss the other one in 0.02 % of joins."""
_PATIENT_GROWTH = 1.5
_UNANSWERED_BEFORE_PATIENCE = 10
"""Attempts without an answer, while presence answers other questions, before the pauses grow. Most likely a replica is
frozen, and the next attempt may reach another one. When forty members leave at once, pauses that grow from the first
attempt would delay the last leave by 15 s in one case of twenty; with this limit it is 4 s."""
_PATIENCE_MAX = 12.0
_UNAVAILABLE_WAIT_SECONDS = 0.05
"""The pause before the next attempt when no replica, or not this one, can answer now."""
_SILENT_SECONDS = 30.0
"""The gateway asks every ten seconds about each shard in which it hosts a room."""
SHARED = 32
"""Questions of one kind at a time, in addition to one of each shard (docs/decisions/0010)."""

Reply = TypeVar("Reply", RosterReply, LeaveReply, CompleteReply, CompareReply, RoomsReply)
_AnyReply = RosterReply | LeaveReply | CompleteReply | CompareReply | RoomsReply
Late = Callable[[RoomConnection], None]


class PresenceRefused(Exception):
    """Presence refuses the request; asking again will not help."""


class RoomFull(PresenceRefused):
    """The room has as many members as it may have."""


class MembersStorageFull(PresenceRefused):
    """The bucket of members is nearly full. Later there may be space again."""


class _Question:
    """A question and the answers received so far."""

    def __init__(self, subject: str, kind: type[_AnyReply], answered: Callable[[], None]) -> None:
        """`answered` is called when a usable answer comes."""
        loop = asyncio.get_running_loop()
        self.subject = subject
        self._kind = kind
        self._answered = answered
        self._parts: dict[str, list[RosterReply]] = defaultdict(list)
        """Parts of rosters that are incomplete, by the id of the answer."""
        self.answer: asyncio.Future[Any] = loop.create_future()
        self.useless: asyncio.Future[Any] = loop.create_future()
        """Done when an answer came that cannot be used."""

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
        """Nobody waits for the answer any more."""
        if not self.answer.cancel() and not self.answer.cancelled():
            self.answer.exception()  # the caller may have been cancelled before it came


class PresenceClient:
    """Every request asks until presence answers: bound it with a timeout. Cancelling leaves the outcome unknown."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._late_joins: list[Late] = []
        self._inbox = ReplyInbox[_Question](self._on_answer, late=self._on_late_answer)
        self._unserved: set[str] = set()
        """Subjects that had no subscriber the last time."""
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

    def on_late_join(self, callback: Late) -> None:
        """Called for each answer to a join that comes when nobody waits for it any more."""
        self._late_joins.append(callback)

    async def start(self) -> None:
        await self._bus.open_inbox(self._inbox)

    async def join(
        self, room: RoomId, request: Callable[[], JoinRequest], *, patience: Patience, restores: bool = False
    ) -> RosterReply:
        """`request` is called just before the first attempt; it may raise.

        `restores`: the connection was in the room before. Raises PresenceRefused, or TimeoutError when `patience` ends.
        """
        shard = subjects.shard_of(room)
        lane = self._restores if restores else self._joins
        return await self._ask(
            lane, shard, subjects.presence_join(shard), lambda: request().encode(), RosterReply, patience=patience
        )

    async def leave(self, request: LeaveRequest) -> LeaveReply:
        """Asks less and less often, because no client waits for it. Raises PresenceRefused."""
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
        """Sends several questions where one would be too long. Raises PresenceRefused.

        The result then has the oldest revision of the answers, and the `newer` and `wrong` rooms of all of them.
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
        """Shards whose last recent question got no answer, and that have answered nothing since."""
        lanes, recently = self.lanes.values(), _now() - _SILENT_SECONDS
        return [
            shard
            for shard in range(subjects.SHARDS)
            if (asked := max(lane.unanswered_at(shard) for lane in lanes)) > recently
            and asked > max(lane.answered_at(shard) for lane in lanes)
        ]

    def why_unavailable(self, subject: str) -> str:
        """For people, when a request on this subject got no answer in time."""
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
        """`growth`: of the time between attempts, while presence answers others in the shard and not this question.

        All attempts share one subject for answers, so the answer to any of them will do.
        """
        question = _Question(subject, kind, functools.partial(lane.answered, shard))
        reply_to = self._inbox.expect(question)
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
                        self._bus.publish(subject, payload, reply=reply_to)
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
            self._inbox.close(reply_to)
            question.forget()

    def _on_answer(self, question: _Question, message: Message) -> None:
        if message.data:
            self._unserved.discard(question.subject)
        else:
            self._unserved.add(question.subject)
        question.take(message.data)

    def _on_late_answer(self, message: Message) -> None:
        """Only joins matter here: presence has added a member that the gateway has given up."""
        late = _decode(message.data, RosterReply)
        if isinstance(late, RosterReply) and late.outcome is Outcome.OK and late.joined is not None:
            for callback in self._late_joins:
                callback(late.joined)


async def _either(
    slot: asyncio.Future[None], answer: asyncio.Future[Any], patience: Patience | None, answered_at: float
) -> None:
    """Returns when one is done or some time has passed. Raises TimeoutError when `patience` ends."""
    seconds = patience.left(answered_at) if patience is not None else None
    if seconds is not None and seconds <= 0:
        raise TimeoutError
    await asyncio.wait([slot, answer], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _decode(data: bytes, kind: type[_AnyReply]) -> _AnyReply | None:
    """None for what is no answer: NATS sends an empty message when a subject has no subscriber."""
    if not data:
        return None
    try:
        return kind.decode(data)
    except ValidationError as error:
        log.error("an answer from presence is malformed", error=str(error))
        return None
