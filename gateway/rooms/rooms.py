"""The rooms that this gateway hosts, and their traffic on the bus."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Container, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Protocol

from pydantic import ValidationError

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.fanout import Repairs
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.gateway.rooms.history import ChatView
from studyroom.gateway.rooms.room import Room
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, Message, Subscription
from studyroom.shared.chassis.ticks import next_tick
from studyroom.shared.chassis.tracing.spans import Tracer
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ephemeral import encode_digest, split_batch, split_digest
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.presence import RecallRequest

log = logs.get(__name__)

_DIGEST_SECONDS = 1.0
_SAMPLE_DIGESTS = 5
"""How many digests are between two samples of the gateways per room."""


@dataclass(slots=True)
class Hosted:
    room: Room
    subscription: Subscription | None = None
    subscribing: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    """Local members and joins in progress. At 0 the gateway stops hosting the room."""


class Rooms:
    """The hosted rooms. A room is hosted while it has local members or joins in progress."""

    def __init__(self) -> None:
        self._hosted: dict[RoomId, Hosted] = {}
        self._by_shard: dict[int, dict[RoomId, Room]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._hosted)

    def __iter__(self) -> Iterator[Room]:
        return (hosted.room for hosted in self._hosted.values())

    def get(self, room_id: RoomId) -> Room | None:
        """The room if it is hosted here."""
        hosted = self._hosted.get(room_id)
        return hosted.room if hosted is not None else None

    def in_shard(self, shard: int) -> list[Room]:
        return list(self._by_shard.get(shard, {}).values())

    def by_shard(self) -> dict[int, list[Room]]:
        """The rooms of each shard that has any."""
        return {shard: list(rooms.values()) for shard, rooms in self._by_shard.items() if rooms}

    def invalidate_all(self) -> None:
        """In every room changes may be missing."""
        for room in self:
            room.invalidate()

    def recall_cursors(self, shards: Container[int]) -> None:
        """Let the next digests include the cursors of all local members in these shards."""
        for room in self:
            if subjects.shard_of(room.id) in shards:
                room.cursors.recall_cursors()

    def hosted(self, room_id: RoomId) -> Hosted | None:
        return self._hosted.get(room_id)

    def add(self, room: Room) -> Hosted:
        """Add a room with no users yet. Call `enter` before anything awaits."""
        hosted = self._hosted[room.id] = Hosted(room)
        self._by_shard[subjects.shard_of(room.id)][room.id] = room
        return hosted

    def enter(self, room: Room) -> None:
        """Count one more user of the room, until `leave`."""
        self._hosted[room.id].users += 1

    async def leave(self, room: Room) -> None:
        """Count one user less. Without users the room is not hosted any more."""
        hosted = self._hosted[room.id]
        hosted.users -= 1
        if hosted.users == 0:
            del self._hosted[room.id]
            del self._by_shard[subjects.shard_of(room.id)][room.id]
            if hosted.subscription is not None:
                await hosted.subscription.unsubscribe()


class HostedRooms(Protocol):
    """Some of the hosted rooms."""

    def __iter__(self) -> Iterator[Room]: ...

    def get(self, room_id: RoomId) -> Room | None:
        """The room if it is hosted here."""


class RoomsInShards:
    """The hosted rooms in some shards."""

    def __init__(self, rooms: Rooms, shards: Iterable[int]) -> None:
        self._rooms = rooms
        self._shards = shards

    def __iter__(self) -> Iterator[Room]:
        return (room for shard in self._shards for room in self._rooms.in_shard(shard))

    def get(self, room_id: RoomId) -> Room | None:
        return self._rooms.get(room_id)


class Hosting:
    """Connects hosted rooms to the bus: one subscription each, batches to other gateways, digests to presence."""

    def __init__(
        self,
        gateway: GatewayId,
        rooms: Rooms,
        bus: Bus,
        scheduler: FlushScheduler,
        metrics: GatewayMetrics,
        chat: ByGroup[ChatView],
        repairs: Repairs,
        tracer: Tracer | None = None,
    ) -> None:
        """Adds new rooms to `rooms`."""
        self._tracer = tracer
        self._gateway = gateway
        self._rooms = rooms
        self._bus = bus
        self._scheduler = scheduler
        self._metrics = metrics
        self._chat = chat
        self._repairs = repairs

    async def start(self) -> None:
        await self._bus.subscribe(subjects.CURSOR_RECALL, self._on_recall)

    @asynccontextmanager
    async def hold(self, room_id: RoomId) -> AsyncIterator[Room]:
        """Host the room at least until the block ends.

        Raises BusUnavailable, or SubscriptionRefused if NATS allows this gateway no more subscriptions.
        """
        hosted = self._rooms.hosted(room_id) or self._rooms.add(self._new(room_id))
        room = hosted.room
        self._rooms.enter(room)
        try:
            async with hosted.subscribing:
                if hosted.subscription is None:
                    events = subjects.room_events(room_id)
                    hosted.subscription = await self._bus.subscribe(
                        events, room.receive, refused=partial(self._refused, hosted)
                    )
            yield room
        finally:
            await self._rooms.leave(room)

    def _new(self, room: RoomId) -> Room:
        return Room(
            room,
            self._gateway,
            self._publish_batch,
            self._scheduler,
            self._metrics,
            self._chat.of(room),
            self._repairs,
            self._tracer,
        )

    def _refused(self, hosted: Hosted, reason: str) -> None:
        if hosted.subscription is not None:
            hosted.subscription.forget()
            hosted.subscription = None
        hosted.room.invalidate()
        self._repairs.cannot_be_hosted(hosted.room, reason)

    # --- cursors ------------------------------------------------------------------------------------------

    def _on_recall(self, message: Message) -> None:
        try:
            request = RecallRequest.decode(message.data)
        except ValidationError as error:
            log.error("malformed recall of cursors", error=str(error))
            return
        self._rooms.recall_cursors(request.shards)

    async def send_digests(self) -> None:
        """Send presence the cursors that moved, once a second. Also lets rooms exchange cursors. Never returns."""
        for number in count():
            await next_tick(_DIGEST_SECONDS)
            self._publish_cursor_digests()
            if number % _SAMPLE_DIGESTS == 0:
                self._count_gateways()
            for room in self._rooms:
                room.cursors.beat()
                room.broadcasts.beat()
                if room.unsettled:
                    self._repairs.roster_is_suspect(room)

    def _count_gateways(self) -> None:
        observe = self._metrics.traffic.room_gateways.observe
        for room in self._rooms:
            if len(room) and room.neighbours.own_is_first:
                observe(1 + len(room.neighbours))

    def _publish_cursor_digests(self) -> None:
        """Send presence the cursors that moved since the last call, shard by shard."""
        by_shard: dict[int, list[tuple[RoomId, UserId, bytes]]] = defaultdict(list)
        for room in self._rooms:
            moved = room.cursors.take_moved()
            if moved:
                by_shard[subjects.shard_of(room.id)] += [(room.id, user, cursor) for user, cursor in moved]
        for shard, lines in by_shard.items():
            for part in split_digest(encode_digest(lines), self._bus.max_payload_bytes):
                self._bus.publish(subjects.presence_cursors(shard), part)

    def _publish_batch(self, subject: str, batch: bytes) -> None:
        """Publish notices of one room to the other gateways that host it, in several messages if they are too long."""
        if len(batch) <= self._bus.max_payload_bytes:
            self._bus.publish(subject, batch)
            return
        for part in split_batch(batch, self._bus.max_payload_bytes):
            self._bus.publish(subject, part)
