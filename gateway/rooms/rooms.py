"""The rooms this gateway hosts, each with its one subscription."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Container, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.gateway.rooms.room import Room, RoomHost
from studyroom.shared.chassis.nats.bus import Bus, Subscription
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ephemeral import encode_digest, split_batch, split_digest
from studyroom.shared.contract.ids import RoomId, UserId

_DIGEST_SECONDS = 1.0


@dataclass(slots=True)
class _Hosted:
    room: Room
    subscription: Subscription | None = None
    subscribing: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    """Members and joins under way; at none the room is let go."""


class Rooms:
    def __init__(
        self,
        bus: Bus,
        scheduler: FlushScheduler,
        metrics: GatewayMetrics,
        host: RoomHost,
        *,
        unhosted: Callable[[Room, str], None],
    ) -> None:
        """`unhosted` is called when NATS sends nothing of a room any more, and why: its members have to leave it."""
        self._unhosted = unhosted
        self._bus = bus
        self._scheduler = scheduler
        self._metrics = metrics
        self._host = host
        self._hosted: dict[RoomId, _Hosted] = {}
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
        """Those shards that have any."""
        return {shard: list(rooms.values()) for shard, rooms in self._by_shard.items() if rooms}

    def invalidate_all(self) -> None:
        """Changes may have been missed in every room."""
        for room in self:
            room.invalidate()

    @asynccontextmanager
    async def hold(self, room_id: RoomId) -> AsyncIterator[Room]:
        """The room, hosted at least until the block ends. Raises BusUnavailable, and SubscriptionRefused when NATS does
        not let this gateway host one more."""
        hosted = self._hosted.get(room_id)
        if hosted is None:
            room = Room(room_id, self._publish_batch, self._scheduler, self._metrics, self._host)
            hosted = self._hosted[room_id] = _Hosted(room)
            self._by_shard[subjects.shard_of(room_id)][room_id] = room
        hosted.users += 1
        try:
            async with hosted.subscribing:
                if hosted.subscription is None:
                    events = subjects.room_events(room_id)
                    hosted.subscription = await self._bus.subscribe(
                        events, hosted.room.receive, refused=partial(self._refused, hosted)
                    )
            yield hosted.room
        finally:
            await self._let_go(hosted)

    def _refused(self, hosted: _Hosted, reason: str) -> None:
        if hosted.subscription is not None:
            hosted.subscription.forget()
            hosted.subscription = None
        hosted.room.invalidate()
        self._unhosted(hosted.room, reason)

    def enter(self, room: Room) -> None:
        """Keep the room hosted for one more member, until `leave`."""
        self._hosted[room.id].users += 1

    async def leave(self, room: Room) -> None:
        await self._let_go(self._hosted[room.id])

    async def _let_go(self, hosted: _Hosted) -> None:
        hosted.users -= 1
        if hosted.users == 0:
            del self._hosted[hosted.room.id]
            del self._by_shard[subjects.shard_of(hosted.room.id)][hosted.room.id]
            if hosted.subscription is not None:
                await hosted.subscription.unsubscribe()

    def recall_cursors(self, shards: Container[int]) -> None:
        """Let the next digests have the cursors of all own members in these shards."""
        for room in self:
            if subjects.shard_of(room.id) in shards:
                room.cursors.recall_cursors()

    async def send_digests(self, suspect: Callable[[RoomId], None]) -> None:
        """Once a second, for ever. `suspect` is called with each room whose roster may be wrong."""
        while True:
            await asyncio.sleep(_DIGEST_SECONDS)
            self._publish_cursor_digests()
            for room in self:
                room.cursors.beat()
                if room.unsettled:
                    suspect(room.id)

    def _publish_cursor_digests(self) -> None:
        """Tell presence the cursors that moved since the last call, shard by shard."""
        by_shard: dict[int, list[tuple[RoomId, UserId, bytes]]] = defaultdict(list)
        for room in self:
            moved = room.cursors.take_moved()
            if moved:
                by_shard[subjects.shard_of(room.id)] += [(room.id, user, cursor) for user, cursor in moved]
        for shard, lines in by_shard.items():
            for part in split_digest(encode_digest(lines), self._bus.max_payload_bytes):
                self._bus.publish(subjects.presence_cursors(shard), part)

    def _publish_batch(self, subject: str, batch: bytes) -> None:
        """Notices of one room to the other gateways that host it."""
        if len(batch) <= self._bus.max_payload_bytes:
            self._bus.publish(subject, batch)
            return
        for part in split_batch(batch, self._bus.max_payload_bytes):
            self._bus.publish(subject, part)
