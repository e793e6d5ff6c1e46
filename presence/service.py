"""The presence service: receives requests over NATS, has them carried out, and answers them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from studyroom.presence.grace import GracePeriods
from studyroom.presence.inspection import Inspection
from studyroom.presence.leases import LeaseKeeper, Leases
from studyroom.presence.listing import list_rooms
from studyroom.presence.metrics import LATE, STORAGE_FULL, PresenceMetrics, PresenceState
from studyroom.presence.operations import Operations
from studyroom.presence.request_ages import ANSWER_SECONDS, FRESH_SECONDS, Arrival, Pings, RequestAges
from studyroom.presence.settings import PresenceSettings
from studyroom.presence.store import Store
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.bulkheads import Bulkheads
from studyroom.shared.chassis.inspection import Answers
from studyroom.shared.chassis.nats.bus import BusError, Message, TooLong
from studyroom.shared.chassis.nats.provisioned import check_groups
from studyroom.shared.chassis.requests import Requests
from studyroom.shared.chassis.settings import Settings, StorageSettings
from studyroom.shared.chassis.shards import parse_shards
from studyroom.shared.chassis.spec import Chassis
from studyroom.shared.chassis.tracing.spans import serving
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ephemeral import MalformedBatch, decode_digest
from studyroom.shared.contract.groups import Group, all_groups
from studyroom.shared.contract.ids import GatewayId
from studyroom.shared.contract.inspection_subjects import INSPECT_PRESENCE
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
    UpdateReply,
    UpdateRequest,
    split_roster,
    truncate_rooms,
)

log = logs.get(__name__)

_REPLY_SPARE_BYTES = 1024
"""The part of a message for what surrounds the members of a roster."""

_OWN_OF_A_SHARD = 8
"""Requests that each shard may work on at once, however busy other shards are."""
_RECALL_SECONDS = (0.0, 2.0)

_OTHERS_SECONDS = 5.0
"""The time for the other mirrors when one is complete at the start."""

Reply = RosterReply | LeaveReply | UpdateReply | CompleteReply | CompareReply | RoomsReply
Answer = Callable[[int, bytes], Awaitable[Reply]]
"""Answers a request about a shard."""


Request = TypeVar("Request", JoinRequest, LeaveRequest, UpdateRequest, RosterRequest, CompleteRequest, CompareRequest)


class _Part:
    """The part of this replica for one group of shards."""

    def __init__(self, store: Store, operations: Operations) -> None:
        self.store = store
        self.operations = operations
        self.epoch = ""
        self.served = False


class Presence:
    def __init__(self, chassis: Chassis, settings: dict[type[Settings], Any]) -> None:
        own: PresenceSettings = settings[PresenceSettings]
        storage: StorageSettings = settings[StorageSettings]
        self._bus = chassis.bus
        self._tasks = chassis.tasks
        self._tracer = chassis.tracer
        self._deadline_seconds = own.request_deadline_seconds
        self._slots = Bulkheads(own=_OWN_OF_A_SHARD, shared=own.concurrent_requests)
        self._metrics = PresenceMetrics(chassis.registry)
        self._grace_periods = GracePeriods(
            on_ended=lambda outcome: self._metrics.grace_outcomes[outcome].inc(), on_ghosts_gone=self._on_ghosts_gone
        )
        shards = parse_shards(own.shards)
        self._groups = storage.groups
        served = [(group, shards.intersection(group.shards)) for group in all_groups(storage.groups)]
        self._parts = [self._part(group, own_shards, own, storage) for group, own_shards in served if own_shards]
        self._of_shard = {shard: part for part in self._parts for shard in part.store.shards}
        self._stores = {shard: part.store for shard, part in self._of_shard.items()}
        self._metrics.watch(
            PresenceState(
                mirrors=lambda: [part.store.mirror for part in self._parts],
                leases=lambda: len(self._leases),
                shards=shards,
                waiting=self._waiting,
            )
        )
        self._leases = Leases(own.guard_seconds)
        self._lease_keeper = LeaseKeeper(
            chassis.bus,
            self._leases,
            present=self._gateways_present,
            drop=self._drop_gateway,
            expired=self._metrics.lease_expirations.inc,
        )
        self._request_ages = RequestAges(time.monotonic())
        self._pings = Pings(chassis.bus, self._request_ages)
        self._requests = Requests(self._bus, self._tasks)
        self._answers = Answers(self._bus, Inspection(self._stores), self.not_ready)

    def _part(self, group: Group, shards: frozenset[int], own: PresenceSettings, storage: StorageSettings) -> _Part:
        store = Store(
            self._bus,
            shards=shards,
            marker_ttl_seconds=storage.presence_marker_ttl_seconds,
            group=group,
            on_rebuilt=lambda: self._on_rebuilt(part),
            on_change=self._grace_periods.changed,
        )
        operations = Operations(
            store,
            self._metrics,
            self._grace_periods,
            grace_seconds=own.grace_seconds,
            guard_seconds=own.guard_seconds,
            room_capacity=own.room_capacity,
        )
        self._metrics.rebuilds.labels(stream=group.presence_stream)
        part = _Part(store, operations)
        return part

    async def start(self) -> None:
        """Return when this replica serves the shards of a group, and others that had some seconds for it.

        Shards of a stream without a leader wait for it. Other shards do not.
        """
        await check_groups(self._bus, subjects.GATEWAYS_STREAM, self._groups)
        await self._answers.listen(INSPECT_PRESENCE)
        for part in self._parts:
            self._tasks.supervise("presence mirror", part.store.keep)
        await self._some_ready()
        self._tasks.supervise("leases", self._lease_keeper.keep)
        self._tasks.supervise("pings", self._pings.keep)
        for part in self._parts:
            if part.store.ready:
                await self._serve(part)
            else:
                self._tasks.spawn("serve", self._serve_when_ready(part))

    async def _some_ready(self) -> None:
        waiting = [asyncio.create_task(part.store.wait_ready(), name="mirror") for part in self._parts]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(waiting, timeout=_OTHERS_SECONDS)
        finally:
            for task in waiting:
                task.cancel()

    async def _serve_when_ready(self, part: _Part) -> None:
        await part.store.wait_ready()
        await self._serve(part)

    async def _serve(self, part: _Part) -> None:
        shards = part.store.shards
        for kind, answer in (
            (subjects.presence_join, self._handler(JoinRequest, Operations.join)),
            (subjects.presence_leave, self._handler(LeaveRequest, Operations.leave)),
            (subjects.presence_update, self._handler(UpdateRequest, Operations.update)),
            (subjects.presence_roster, self._handler(RosterRequest, Operations.roster)),
            (subjects.presence_complete, self._handler(CompleteRequest, Operations.complete)),
            (subjects.presence_compare, self._handler(CompareRequest, Operations.compare)),
            (subjects.presence_rooms, self._list_rooms),
        ):
            of_kind = subjects.of_shards(kind, shards)
            await self._requests.listen(of_kind, self._accept(answer), queue=subjects.PRESENCE_QUEUE)
        await self._requests.listen(subjects.of_shards(subjects.presence_cursors, shards), self._take_cursors)
        await self._requests.subscribed()
        part.served = True
        self._recall(part)

    def not_ready(self) -> list[str]:
        away = [part.store.group.presence_stream for part in self._parts if not part.store.ready]
        return [f"the mirror of {', '.join(away)} is not complete"] if away else []

    async def drain(self) -> None:
        """Stop receiving requests, and finish those that are under way."""
        await self._requests.drain()

    async def stop(self) -> None:
        """The chassis closes the bus."""

    def _accept(self, answer: Answer) -> Callable[[Message], None]:
        def accept(message: Message) -> None:
            name = message.subject.rsplit(".", 1)[1]
            work = self._serve_one(name, answer, message, self._request_ages.arrival())
            self._requests.begin(f"presence {name}", work)

        return accept

    async def _serve_one(self, name: str, answer: Answer, message: Message, arrival: Arrival) -> None:
        with serving(self._tracer, message.headers, f"presence {name}") as span:
            outcome = await self._work(name, answer, message, arrival)
            if span is not None:
                span.note({"studyroom.outcome": outcome})

    async def _work(self, name: str, answer: Answer, message: Message, arrival: Arrival) -> str:
        """Answer a request. Returns the outcome."""
        with self._metrics.request_duration.labels(request=name).time():
            fresh = self._request_ages.is_within(FRESH_SECONDS, arrival, time.monotonic())
            reply = await self._answer(answer, message) if fresh else None
        if reply is None or not self._request_ages.is_within(ANSWER_SECONDS, arrival, time.monotonic()):
            self._metrics.refused.labels(outcome=LATE).inc()
            return LATE
        if reply.outcome is not Outcome.OK:
            full = isinstance(reply, RosterReply) and reply.storage_full
            self._metrics.refused.labels(outcome=STORAGE_FULL if full else reply.outcome.value).inc()
        for part in self._fitting(reply):
            self._bus.publish(message.reply, part)
        return reply.outcome.value

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
                return await answer(_shard_of(message.subject), message.data)
        except ValidationError as error:
            log.error("cannot decode a request", subject=message.subject, error=str(error))
            return LeaveReply(outcome=Outcome.INVALID)
        except TooLong as error:
            log.warning("a request needs a longer message than NATS allows", subject=message.subject, error=str(error))
            return LeaveReply(outcome=Outcome.TOO_LONG)
        except (BusError, TimeoutError) as error:
            log.warning("could not carry out a request", subject=message.subject, error=str(error) or "deadline")
            return LeaveReply(outcome=Outcome.UNAVAILABLE)

    def _handler(self, kind: type[Request], work: Callable[[Operations, Request], Awaitable[Reply]]) -> Answer:
        async def answer(shard: int, data: bytes) -> Reply:
            return await work(self._of_shard[shard].operations, kind.decode(data))

        return answer

    async def _list_rooms(self, _shard: int, data: bytes) -> Reply:
        return list_rooms(self._stores, RoomsRequest.decode(data))

    def _waiting(self) -> dict[int, int]:
        return {shard: count for shard, count in self._slots.waiting_in().items() if isinstance(shard, int)}

    def _on_rebuilt(self, part: _Part) -> None:
        store = part.store
        self._metrics.rebuilds.labels(stream=store.group.presence_stream).inc()
        if store.epoch != part.epoch:
            part.epoch = store.epoch
            self._grace_periods.clear(store.shards)
        if part.served:
            self._recall(part)

    def _recall(self, part: _Part) -> None:
        self._tasks.spawn("recall cursors", self._recall_cursors(sorted(part.store.shards)))

    async def _recall_cursors(self, shards: list[int]) -> None:
        """Ask gateways for the last cursors, because this replica may have missed digests.

        It asks a second time, when every NATS server knows this replica's subscriptions.
        """
        for wait_seconds in _RECALL_SECONDS:
            await asyncio.sleep(wait_seconds)
            self._bus.publish(subjects.CURSOR_RECALL, RecallRequest(shards=shards).encode())

    # --- dead gateways ------------------------------------------------------------------------------------

    def _gateways_present(self) -> list[GatewayId] | None:
        """Return the gateways with members, as far as mirrors are complete; None if none is."""
        mirrors = [part.store.mirror for part in self._parts if part.store.ready]
        if not mirrors:
            return None
        return list(dict.fromkeys(gateway for mirror in mirrors for gateway in mirror.gateways()))

    async def _drop_gateway(self, gateway: GatewayId, renewed_at: float, still_dead: Callable[[], bool]) -> int:
        """Drop a dead gateway from every group whose mirror is complete. Raises BusError or TimeoutError at the end."""
        parts = [part for part in self._parts if part.store.ready] or self._parts
        outcomes = await asyncio.gather(
            *(part.operations.drop_gateway(gateway, renewed_at, still_dead) for part in parts), return_exceptions=True
        )
        dropped = 0
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            dropped += outcome
        if dropped and not self._grace_periods.has_any_of(gateway):
            self._on_ghosts_gone(gateway)
        return dropped

    def _on_ghosts_gone(self, gateway: GatewayId) -> None:
        seconds = self._leases.forget_dead(gateway, asyncio.get_running_loop().time())
        if seconds is not None:
            self._metrics.ghost_seconds.observe(seconds)

    def _take_cursors(self, message: Message) -> None:
        try:
            mirror = self._stores[_shard_of(message.subject)].mirror
            for room, user, cursor in decode_digest(message.data):
                mirror.move_cursor(room, user, partial(_read_cursor, cursor))
        except MalformedBatch as error:
            log.error("cannot decode a cursor digest", error=str(error))


def _read_cursor(data: bytes) -> CursorPosition | None:
    """`data`: `CursorPosition` JSON. Returns None if it is malformed."""
    try:
        return CursorPosition.model_validate_json(data)
    except ValidationError as error:
        log.error("cannot decode a cursor", error=str(error))
        return None


def _shard_of(subject: str) -> int:
    """Return the shard in the subject of a request, `presence.<shard>.<kind>`."""
    return int(subject.split(".")[1])
