"""Requests to the presence service.

The gateway repeats a request until it has an answer, and the answer to any attempt counts: a frozen or dead replica
must not delay a join when another replica is well. Requests are idempotent, so presence may carry one out twice. But a
join that presence carries out *late* must be undone, so late answers reach a handler too.

Each kind of request has its own lane (see `lanes`).
"""

import asyncio
import functools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError

from studyroom.gateway.membership.lanes import Lane, Patience
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, Message
from studyroom.shared.chassis.nats.reply_inbox import ReplyInbox
from studyroom.shared.chassis.tracing.spans import Kind, outgoing, within
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
    UpdateReply,
    UpdateRequest,
)

log = logs.get(__name__)

_ATTEMPT_SECONDS = 0.4
"""NATS chooses the replica of each attempt at random. With one of two frozen, all twelve attempts within a join's
deadline miss the other one in 0.02 % of joins."""
_PATIENT_GROWTH = 1.5
_UNANSWERED_BEFORE_PATIENCE = 10
"""Attempts without an answer, while presence answers other requests, before the pauses grow. Most likely a replica is
frozen, and the next attempt may reach another one. When forty members leave at once, pauses that grow from the first
attempt would delay the last leave by 15 s in one case of twenty; with this limit it is 4 s."""
_PATIENCE_MAX = 12.0
_UNAVAILABLE_WAIT_SECONDS = 0.05
"""The pause before the next attempt when no replica, or not this one, can answer now."""
_SILENT_SECONDS = 30.0
"""The gateway asks every ten seconds about each shard in which it hosts a room."""
SHARED = 32
"""Concurrent requests of one kind, in addition to one of each shard (docs/decisions/0010)."""

Reply = TypeVar("Reply", RosterReply, LeaveReply, UpdateReply, CompleteReply, CompareReply, RoomsReply)
_AnyReply = RosterReply | LeaveReply | UpdateReply | CompleteReply | CompareReply | RoomsReply
Late = Callable[[RoomConnection], None]


class PresenceRefused(Exception):
    """Presence refuses the request. Do not retry it."""


class RoomFull(PresenceRefused):
    """The room has its maximum of members."""


class MembersStorageFull(PresenceRefused):
    """The bucket of members is nearly full. There may be space later."""


class _PendingRequest:
    """A request that is repeated, with the answers so far."""

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
            self.answer.set_exception(MembersStorageFull("the store of members is full"))
            return
        if reply is None or reply.outcome is Outcome.UNAVAILABLE:
            if not self.useless.done():
                self.useless.set_result(None)
            return
        self._answered()
        if reply.outcome is Outcome.FULL:
            self.answer.set_exception(RoomFull("the room has its maximum of members"))
        elif reply.outcome is Outcome.TOO_LONG:
            self.answer.set_exception(PresenceRefused("the user has too many connections in this room"))
        elif reply.outcome is Outcome.INVALID:
            self.answer.set_exception(PresenceRefused("presence does not understand requests of this gateway"))
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
    """Every request is repeated until presence answers, so use a timeout. Cancellation leaves the outcome unknown."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._late_joins: list[Late] = []
        self._inbox = ReplyInbox[_PendingRequest](self._on_answer, late=self._on_late_answer)
        self._unserved: set[str] = set()
        """Subjects that had no subscriber the last time."""
        self._joins = Lane(own=1, shared=SHARED)
        self._restores = Lane(own=1, shared=SHARED)
        self._leaves = Lane(own=1, shared=SHARED)
        self._updates = Lane(own=1, shared=SHARED)
        self._reads = Lane(own=1, shared=SHARED)
        self._checks = Lane(own=2, shared=0)
        self.lanes = {
            "join": self._joins,
            "restore": self._restores,
            "leave": self._leaves,
            "update": self._updates,
            "read": self._reads,
            "check": self._checks,
        }
        """The lanes by kind of request, as metrics name it."""

    def on_late_join(self, callback: Late) -> None:
        """Call `callback` for each answer to a join that comes after the join was given up."""
        self._late_joins.append(callback)

    async def start(self) -> None:
        await self._bus.open_inbox(self._inbox)

    async def join(
        self, room: RoomId, request: Callable[[], JoinRequest], *, patience: Patience, restores: bool = False
    ) -> RosterReply:
        """Calls `request` just before the first attempt. It may raise.

        `restores`: the connection was in the room before. Raises PresenceRefused, or TimeoutError when `patience` ends.
        """
        shard = subjects.shard_of(room)
        lane = self._restores if restores else self._joins
        return await self._request(
            lane, shard, subjects.presence_join(shard), lambda: request().encode(), RosterReply, patience=patience
        )

    async def leave(self, request: LeaveRequest) -> LeaveReply:
        """Retries with growing pauses, because no client waits for it. Raises PresenceRefused."""
        shard = subjects.shard_of(request.room)
        subject = subjects.presence_leave(shard)
        return await self._request(self._leaves, shard, subject, request.encode, LeaveReply, growth=_PATIENT_GROWTH)

    async def update(self, request: UpdateRequest) -> UpdateReply:
        """The outcome is OK, NOT_MEMBER or TOO_LARGE. Raises PresenceRefused."""
        shard = subjects.shard_of(request.room)
        subject = subjects.presence_update(shard)
        return await self._request(self._updates, shard, subject, request.encode, UpdateReply, growth=_PATIENT_GROWTH)

    async def roster(self, room: RoomId) -> RosterReply:
        """Raises PresenceRefused."""
        shard = subjects.shard_of(room)
        request = RosterRequest(room=room)
        return await self._request(self._reads, shard, subjects.presence_roster(shard), request.encode, RosterReply)

    async def complete(self, request: CompleteRequest) -> CompleteReply:
        """Raises PresenceRefused."""
        shard = request.shard
        subject = subjects.presence_complete(shard)
        missing: set[MembershipId] | None = set()
        for part in request.split(self._bus.max_payload_bytes):
            reply = await self._request(self._checks, shard, subject, part.encode, CompleteReply)
            missing = None if missing is None or reply.missing is None else missing | reply.missing
        return reply.model_copy(update={"missing": missing})

    async def compare(self, shard: int, request: CompareRequest) -> CompareReply:
        """Sends several requests if one would be too long. Raises PresenceRefused.

        The result then has the oldest revision of the answers, and the `newer` and `wrong` rooms of all of them.
        """
        subject = subjects.presence_compare(shard)
        answers = [
            await self._request(self._checks, shard, subject, part.encode, CompareReply)
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
        return await self._request(self._reads, shard, subjects.presence_rooms(shard), request.encode, RoomsReply)

    def silent_shards(self) -> list[int]:
        """The shards whose last attempt was recent and got no answer."""
        lanes, recently = self.lanes.values(), _now() - _SILENT_SECONDS
        return [
            shard
            for shard in range(subjects.SHARDS)
            if (unanswered_at := max(lane.unanswered_at(shard) for lane in lanes)) > recently
            and unanswered_at > max(lane.answered_at(shard) for lane in lanes)
        ]

    def why_unavailable(self, subject: str) -> str:
        """The reason for people, when a request on this subject got no answer in time."""
        if subject in self._unserved:
            return f"no presence replica serves shard {subject.split('.')[1]} now"
        return "presence did not answer in time"

    async def _request(
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
        """All attempts share one subject for answers, so the answer to any of them counts.

        `growth`: the factor of the pauses between attempts, while presence answers other requests in the shard.
        """
        number = lane.number()
        payload: bytes | None = None
        was_answered, undelivered = False, 0
        factor = 1.0
        traced = within(f"ask presence: {subject.rpartition('.')[2]}", Kind.CLIENT)
        with traced, self._expecting(subject, kind, functools.partial(lane.answered, shard)) as (pending, reply_to):
            while True:
                slot = lane.queue(shard, number)
                try:
                    while not (slot.done() or pending.answer.done()):
                        await _either(slot, pending.answer, patience, lane.answered_at(shard))
                    sent_at = _now()
                    if not pending.answer.done():
                        if payload is None:
                            payload = request()
                        if patience is not None:
                            patience.start(sent_at if lane.answers(shard) else lane.answered_at(shard))
                        self._bus.publish(subject, payload, reply=reply_to, headers=outgoing())
                        was_answered = await pending.was_answered(_ATTEMPT_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                    if pending.answer.done():
                        reply: Reply = pending.answer.result()
                        return reply
                    lane.unanswered(shard, sent_at)
                finally:
                    lane.release(slot)
                undelivered += not was_answered
                if lane.answers(shard) and (was_answered or undelivered > _UNANSWERED_BEFORE_PATIENCE):
                    factor = min(factor * growth, _PATIENCE_MAX)
                pause_seconds = _UNAVAILABLE_WAIT_SECONDS * factor if was_answered else _ATTEMPT_SECONDS * (factor - 1)
                if pause_seconds > 0:
                    await asyncio.wait([pending.answer], timeout=pause_seconds)

    @contextmanager
    def _expecting(
        self, subject: str, kind: type[_AnyReply], answered: Callable[[], None]
    ) -> Iterator[tuple[_PendingRequest, str]]:
        """The request, and the subject for its answers. Afterwards nobody waits for them."""
        pending = _PendingRequest(subject, kind, answered)
        reply_to = self._inbox.expect(pending)
        try:
            yield pending, reply_to
        finally:
            self._inbox.close(reply_to)
            pending.forget()

    def _on_answer(self, pending: _PendingRequest, message: Message) -> None:
        if message.data:
            self._unserved.discard(pending.subject)
        else:
            self._unserved.add(pending.subject)
        pending.take(message.data)

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
    seconds = patience.remaining(answered_at) if patience is not None else None
    if seconds is not None and seconds <= 0:
        raise TimeoutError
    await asyncio.wait([slot, answer], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _decode(data: bytes, kind: type[_AnyReply]) -> _AnyReply | None:
    """None for a malformed answer, and for the empty message that NATS sends if a subject has no subscriber."""
    if not data:
        return None
    try:
        return kind.decode(data)
    except ValidationError as error:
        log.error("an answer from presence is malformed", error=str(error))
        return None
