"""A room makes sure that it has all of its chat, while its repair goes on."""

import asyncio
from contextlib import suppress
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.chat import backfill
from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.fanout import Recipient
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.gateway.rooms.history import History, Stored
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Hosting, Rooms
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.busyness import busy_seconds
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.ids import GatewayId, RoomId
from studyroom.shared.contract.presence import RoomConnection
from tests.support.waiting import eventually


class ChatView:
    history_kept = 10
    sure = True

    def newest(self, history: History) -> list[Stored]:
        return history.newest(self.history_kept)

    def epoch(self, presence_epoch: str) -> str:
        return presence_epoch


class NoRepairs:
    def connection_is_missing(self, recipient: Recipient) -> None:
        """Nobody is in these rooms."""

    def connection_is_present(self, place: RoomConnection) -> None:
        """Nobody is in these rooms."""

    def roster_is_suspect(self, room: Room) -> None:
        """Nobody is in these rooms."""

    def cannot_be_hosted(self, room: Room, reason: str) -> None:
        """Nobody is in these rooms."""

    def chat_is_missing(self, room: Room, *, announced: int = 0) -> None:
        """Nobody chats in these rooms."""

    def chat_is_rewritten(self, room: Room) -> None:
        """Nobody chats in these rooms."""

    def chat_must_begin_again(self, room: Room) -> None:
        """Nothing is erased here."""

    def chat_is_deleted(self, room: Room, tombstone: Stored) -> None:
        """Nobody chats in these rooms."""

    def edits_may_be_late(self, room: Room, edits: list[Stored]) -> None:
        """Nobody chats in these rooms."""


def hosting(rooms: Rooms, bus: Bus, metrics: GatewayMetrics) -> Hosting:
    return Hosting(
        GatewayId("test"), rooms, bus, FlushScheduler(0, busy_seconds), metrics, ByGroup([ChatView()]), NoRepairs()
    )


class ReplacedMeanwhile(ChatStream):
    """Another stream takes the place of this one while the last message of a room is asked for, once."""

    def __init__(self, bus: Bus, storage: StorageSettings) -> None:
        super().__init__(bus)
        self._storage_bus = bus
        self._storage = storage
        self.about_to_be = False

    async def last(self, room: RoomId) -> int | None:
        if self.about_to_be:
            self.about_to_be = False
            await self._storage_bus.api(f"STREAM.DELETE.{subjects.CHAT_STREAM}")
            await ensure(self._storage_bus, specifications(self._storage))
            await self.learn()
        return await super().last(room)


async def store_chat(bus: Bus, room: RoomId, count: int) -> int:
    """Returns the last sequence of the stream."""
    for _ in range(count):
        stored = await bus.store(subjects.chat(room), b'{"type":"Chat"', {}, timeout_seconds=5)
    return stored.sequence


async def test_a_room_takes_no_position_of_a_stream_that_is_gone(bus: Bus, tasks: Tasks, storage: StorageSettings):
    await ensure(bus, specifications(storage))
    stream = ReplacedMeanwhile(bus, storage)
    await stream.start()
    metrics = GatewayMetrics(CollectorRegistry())
    rooms = Rooms()
    filling = Backfill(rooms, stream, tasks, metrics, at_most=100)
    stream.on_replaced(filling.replaced)
    unknown: list[int] = []
    async with hosting(rooms, bus, metrics).hold(RoomId(str(uuid4()))) as room:
        before = await store_chat(bus, room.id, 30)
        await filling.catch_up(room)
        assert room.history.position == before
        filling.acknowledged(room.id, before + 1, lambda: unknown.append(before + 1))
        stream.about_to_be = True
        await filling.catch_up(room)
        after = await store_chat(bus, room.id, 2)
        await filling.catch_up(room)
        assert after < before
        assert room.history.position == after
    assert unknown == [before + 1]


async def test_a_room_without_chat_is_compared_while_it_has_no_position_yet(
    bus: Bus, tasks: Tasks, storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
):
    await ensure(bus, specifications(storage))
    stream = ChatStream(bus)
    await stream.start()
    metrics = GatewayMetrics(CollectorRegistry())
    rooms = Rooms()
    comparing = Backfill(rooms, stream, tasks, metrics, at_most=10)
    monkeypatch.setattr(backfill, "_COMPARE_SECONDS", 0.0)
    async with hosting(rooms, bus, metrics).hold(RoomId(str(uuid4()))) as room:
        running = asyncio.ensure_future(comparing.run())
        await eventually(lambda: running.done() or room.history.position is not None, "the room has a position")
        assert not running.done()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
