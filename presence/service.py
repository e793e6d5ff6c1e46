"""The presence service: receives requests over NATS, has them carried out, and answers them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from studyroom.presence.grace import GracePeriods
from studyroom.presence.leases import LeaseKeeper, Leases
from studyroom.presence.metrics import LATE, STORAGE_FULL, PresenceMetrics, PresenceState
from studyroom.presence.operations import Operations
from studyroom.presence.request_ages import ANSWER_SECONDS, FRESH_SECONDS, Arrival, Pings, RequestAges
from studyroom.presence.settings import PresenceSettings, parse_shards
from studyroom.presence.store import Store
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.bulkheads import Bulkheads
from studyroom.shared.chassis.nats.bus import BusError, Handler, Message, Subscription, TooLong
from studyroom.shared.chassis.settings import Settings, StorageSettings
from studyroom.shared.chassis.spec import Chassis
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ephemeral import MalformedBatch, decode_digest
from studyroom.shared.contract.ids import GatewayId
from studyroom.shared.contract.messages import CursorPosition
from studyroom.shared.contract.presence import (
    CompareReply,
    CompareRequest,
    CompleteReply,
    CompleteRequest,
    JoinRequest,
    LeaveReply,
    LeaveRequest,
    Outcome,
    RecallRequest,
    RoomsReply,
    RoomsRequest,
    RosterReply,
    RosterRequest,
    split_roster,
    truncate_rooms,
)

log = logs.get(__name__)

_REPLY_SPARE_BYTES = 1024
"""The part of a message for what surrounds the members of a roster."""

_OWN_OF_A_SHARD = 8
"""Requests that each shard may work on at once, however busy other shards are."""
_RECALL_SECONDS = (0.0, 2.0)
_RETRY_SECONDS = 0.2

Reply = RosterReply | LeaveReply | CompleteReply | CompareReply | RoomsReply
Answer = Callable[[bytes], Awaitable[Reply]]


class Presence:
    def __init__(self, chassis: Chassis, settings: dict[type[Settings], Any]) -> None:
        own: PresenceSettings = settings[PresenceSettings]
        storage: StorageSettings = settings[StorageSettings]
        self._bus = chassis.bus
        self._tasks = chassis.tasks
        self._deadline_seconds = own.request_deadline_seconds
        self._slots = Bulkheads(own=_OWN_OF_A_SHARD, shared=own.concurrent_requests)
        self._metrics = PresenceMetrics(chassis.registry)
        self._grace_periods = GracePeriods(
            on_ended=lambda outcome: self._metrics.grace_outcomes[outcome].inc(), on_ghosts_gone=self._on_ghosts_gone
        )
        self._store = Store(
            chassis.bus,
            shards=parse_shards(own.shards),
            marker_ttl_seconds=storage.presence_marker_ttl_seconds,
            on_rebuilt=self._on_rebuilt,
            on_change=self._grace_periods.changed,
        )
        self._metrics.watch(
            PresenceState(
                mirror=lambda: self._store.mirror,
                leases=lambda: len(self._leases),
                shards=self._store.shards,
                waiting=self._waiting,
            )
        )
        self._operations = Operations(
            self._store,
            self._metrics,
            self._grace_periods,
            grace_seconds=own.grace_seconds,
            guard_seconds=own.guard_seconds,
            room_capacity=own.room_capacity,
        )
        self._leases = Leases(own.guard_seconds)
        self._lease_keeper = LeaseKeeper(
            chassis.bus,
            self._leases,
            present=lambda: self._store.mirror.gateways() if self._store.ready else None,
            drop=self._operations.drop_gateway,
            expired=self._metrics.lease_expirations.inc,
        )
        self._request_ages = RequestAges(time.monotonic())
        self._pings = Pings(chassis.bus, self._request_ages)
        self._subscriptions: list[Subscription] = []
        self._working: set[asyncio.Task[None]] = set()
        self._started = False
        self._epoch = ""

    async def start(self) -> None:
        self._tasks.supervise("presence mirror", self._store.keep)
        await self._store.wait_ready()
        self._tasks.supervise("leases", self._lease_keeper.keep)
        self._tasks.supervise("pings", self._pings.keep)
        operations = self._operations
        for kind, answer in (
            (subjects.presence_join, _handler(JoinRequest, operations.join)),
            (subjects.presence_leave, _handler(LeaveRequest, operations.leave)),
            (subjects.presence_roster, _handler(RosterRequest, operations.roster)),
            (subjects.presence_complete, _handler(CompleteRequest, operations.complete)),
            (subjects.presence_compare, _handler(CompareRequest, operations.compare)),
            (subjects.presence_rooms, _handler(RoomsRequest, operations.rooms)),
        ):
            await self._listen(kind, self._accept(answer), queue=subjects.PRESENCE_QUEUE)
        await self._listen(subjects.presence_cursors, self._take_cursors)
        await self._subscribed()
        self._started = True
        self._recall()

    async def _subscribed(self) -> None:
        """Return when NATS has all subscriptions."""
        while True:
            try:
                await self._bus.flush()
            except BusError as error:
                log.info("waiting for NATS", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _listen(self, kind: Callable[[int], str], handler: Handler, *, queue: str = "") -> None:
        for subject in subjects.of_shards(kind, self._store.shards):
            self._subscriptions.append(await self._bus.subscribe(subject, handler, queue=queue))

    def not_ready(self) -> list[str]:
        return [] if self._store.ready else ["the presence mirror is not complete"]

    async def drain(self) -> None:
        """Stop receiving requests, and finish those that are under way."""
        await asyncio.gather(*(subscription.drain() for subscription in self._subscriptions))
        if self._working:
            await asyncio.wait(self._working)
        try:
            await self._bus.flush()
        except BusError as error:
            log.warning("last answers may not have been sent", error=str(error))

    async def stop(self) -> None:
        """The chassis closes the bus."""

    def _accept(self, answer: Answer) -> Callable[[Message], None]:
        def accept(message: Message) -> None:
            name = message.subject.rsplit(".", 1)[1]
            task = self._tasks.spawn(
                f"presence {name}", self._work(name, answer, message, self._request_ages.arrival())
            )
            self._working.add(task)
            task.add_done_callback(self._working.discard)

        return accept

    async def _work(self, name: str, answer: Answer, message: Message, arrival: Arrival) -> None:
        with self._metrics.request_duration.labels(request=name).time():
            fresh = self._request_ages.is_within(FRESH_SECONDS, arrival, time.monotonic())
            reply = await self._answer(answer, message) if fresh else None
        if reply is None or not self._request_ages.is_within(ANSWER_SECONDS, arrival, time.monotonic()):
            self._metrics.refused.labels(outcome=LATE).inc()
            return
        if reply.outcome is not Outcome.OK:
            full = isinstance(reply, RosterReply) and reply.storage_full
            self._metrics.refused.labels(outcome=STORAGE_FULL if full else reply.outcome.value).inc()
        for part in self._fitting(reply):
            self._bus.publish(message.reply, part)

    def _fitting(self, reply: Reply) -> list[bytes]:
        """Encode the reply, in several messages if it is longer than NATS allows."""
        max_bytes = self._bus.max_payload_bytes
        encoded = reply.encode()
        if len(encoded) <= max_bytes:
            return [encoded]
        if isinstance(reply, RosterReply):
            parts = split_roster(reply, uuid4().hex, max_bytes - _REPLY_SPARE_BYTES)
            return [part.encode() for part in parts]
        if isinstance(reply, RoomsReply):
            return [truncate_rooms(reply, max_bytes).encode()]
        return [encoded]  # It is no longer than its request.

    async def _answer(self, answer: Answer, message: Message) -> Reply:
        try:
            async with asyncio.timeout(self._deadline_seconds), self._slots.slot(_shard_of(message.subject)):
                return await answer(message.data)
        except ValidationError as error:
            log.error("cannot decode a request", subject=message.subject, error=str(error))
            return LeaveReply(outcome=Outcome.INVALID)
        except TooLong as error:
            log.warning("a request needs a longer message than NATS allows", subject=message.subject, error=str(error))
            return LeaveReply(outcome=Outcome.TOO_LONG)
        except (BusError, TimeoutError) as error:
            log.warning("could not carry out a request", subject=message.subject, error=str(error) or "deadline")
            return LeaveReply(outcome=Outcome.UNAVAILABLE)

    def _waiting(self) -> dict[int, int]:
        return {shard: count for shard, count in self._slots.waiting_in().items() if isinstance(shard, int)}

    def _on_rebuilt(self) -> None:
        self._metrics.rebuilds.inc()
        if self._store.epoch != self._epoch:
            self._epoch = self._store.epoch
            self._grace_periods.clear()
        if self._started:
            self._recall()

    def _recall(self) -> None:
        self._tasks.spawn("recall cursors", self._recall_cursors())

    async def _recall_cursors(self) -> None:
        """Ask gateways for the last cursors, because this replica may have missed digests.

        It asks a second time, when every NATS server knows this replica's subscriptions.
        """
        for wait_seconds in _RECALL_SECONDS:
            await asyncio.sleep(wait_seconds)
            self._bus.publish(subjects.CURSOR_RECALL, RecallRequest(shards=sorted(self._store.shards)).encode())

    def _on_ghosts_gone(self, gateway: GatewayId) -> None:
        seconds = self._leases.forget_dead(gateway, asyncio.get_running_loop().time())
        if seconds is not None:
            self._metrics.ghost_seconds.observe(seconds)

    def _take_cursors(self, message: Message) -> None:
        try:
            for room, user, cursor in decode_digest(message.data):
                self._store.mirror.move_cursor(room, user, CursorPosition.model_validate_json(cursor))
        except (MalformedBatch, ValidationError) as error:
            log.error("cannot decode a cursor digest", error=str(error))


def _shard_of(subject: str) -> int:
    """Return the shard in the subject of a request, `presence.<shard>.<kind>`."""
    return int(subject.split(".")[1])


Request = TypeVar("Request", JoinRequest, LeaveRequest, RosterRequest, CompleteRequest, CompareRequest, RoomsRequest)


def _handler(kind: type[Request], work: Callable[[Request], Awaitable[Reply]]) -> Answer:
    async def answer(data: bytes) -> Reply:
        return await work(kind.decode(data))

    return answer
