"""Stored chat of a hosted room goes away: an operator removes it, and members are notified, or it is old."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.chat import backfill
from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.removals import Removals
from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId
from tests.integration.test_backfill import hosting, store_chat
from tests.support.waiting import eventually

STORED = 5


@dataclass
class Hosted:
    rooms: list[Room]
    losses: Callable[[], float]
    """Counts the rooms that start again after a loss."""
    host: Callable[[], Awaitable[Room]]
    """Host another room with STORED messages, and read them."""

    def remembered(self) -> list[list[int]]:
        return [[stored.sequence for stored in room.history.newest(100)] for room in self.rooms]


@pytest.fixture(autouse=True)
def _compared_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "_COMPARE_SECONDS", 0.1)


@asynccontextmanager
async def hosted(bus: Bus, tasks: Tasks, storage: StorageSettings, count: int) -> AsyncIterator[Hosted]:
    """Rooms in each of which STORED messages are remembered."""
    await ensure(bus, specifications(storage))
    stream, metrics = ChatStream(bus), GatewayMetrics(CollectorRegistry())
    await stream.start()
    rooms = Rooms()
    hosts = hosting(rooms, bus, metrics)
    comparing = Backfill(rooms, stream, tasks, metrics, at_most=100)
    stream.on_replaced(comparing.replaced)
    async with AsyncExitStack() as held:

        async def host() -> Room:
            room = await held.enter_async_context(hosts.hold(RoomId(str(uuid4()))))
            await comparing.catch_up(room)
            last = await store_chat(bus, room.id, STORED)
            await comparing.catch_up(room)
            assert room.history.passed(last)
            return room

        found = [await host() for _ in range(count)]
        running = asyncio.create_task(comparing.run())
        yield Hosted(found, metrics.chat_losses._value.get, host)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def purge(bus: Bus, room: Room | None, **what: int) -> None:
    request = {**what, **({"filter": subjects.chat(room.id)} if room is not None else {})}
    await bus.api(f"STREAM.PURGE.{subjects.CHAT_STREAM}", request)


async def test_purged_rooms_start_again_with_the_rest_of_their_chat_and_others_do_not(
    bus: Bus, tasks: Tasks, storage: StorageSettings
):
    async with hosted(bus, tasks, storage, 4) as system:
        whole, kept, older, untouched = system.rooms
        before = system.remembered()
        await purge(bus, whole)
        await purge(bus, kept, keep=2)
        await purge(bus, older, seq=before[2][3])
        left = [[], before[1][-2:], before[2][3:], before[3]]
        await eventually(lambda: system.remembered() == left, "the rest is remembered")
        assert system.losses() == 3
        assert untouched.history.begun < before[3][0]
        last = await store_chat(bus, whole.id, 1)
        await eventually(lambda: whole.history.position == last, "chat goes on")

        await purge(bus, None)
        await eventually(lambda: system.remembered() == [[], [], [], []], "nothing is left")
        assert system.losses() == 7


async def test_the_oldest_messages_that_go_by_age_or_number_do_not_count_as_lost_and_newcomers_do_not_see_them(
    bus: Bus, tasks: Tasks
):
    few = StorageSettings(chat_max_messages_per_room=3, chat_max_age_seconds=600)
    async with hosted(bus, tasks, few, 1) as system:
        await eventually(lambda: len(system.remembered()[0]) == 3, "three are left")
        await ensure(bus, specifications(StorageSettings(chat_max_age_seconds=1, chat_duplicate_window_seconds=1)))
        await eventually(lambda: system.remembered() == [[]], "all have expired")
        assert system.losses() == 0
    await ensure(bus, specifications(StorageSettings()))


async def test_the_oldest_messages_that_go_for_want_of_space_do_not_count_as_lost(bus: Bus, tasks: Tasks):
    await ensure(bus, specifications(StorageSettings()))
    await purge(bus, None)
    async with hosted(bus, tasks, StorageSettings(chat_max_bytes=1_000_000, chat_when_full="drop_oldest"), 1) as system:
        for _ in range(3):
            await bus.store(subjects.chat(RoomId(str(uuid4()))), b"x" * 400_000, {}, timeout_seconds=5)
        await eventually(lambda: system.remembered() == [[]], "they made room")
        assert system.losses() == 0
    await ensure(bus, specifications(StorageSettings()))


async def test_rooms_that_have_just_read_their_chat_are_not_asked_about_while_nothing_is_removed(
    bus: Bus, tasks: Tasks, storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
):
    asked: list[RoomId] = []
    looks = 0
    first, look = ChatStream.first, Removals.look

    async def counted_first(stream: ChatStream, room: RoomId, sequence: int) -> int | None:
        asked.append(room)
        return await first(stream, room, sequence)

    async def counted_look(removals: Removals, shorter: set[Room], *, but: Container[Room]) -> None:
        nonlocal looks
        await look(removals, shorter, but=but)
        looks += 1

    monkeypatch.setattr(ChatStream, "first", counted_first)
    monkeypatch.setattr(Removals, "look", counted_look)
    async with hosted(bus, tasks, storage, 1) as system:
        (early,) = system.rooms
        await eventually(lambda: early.id in asked, "nobody knows what was removed before the first look")
        late, before = await system.host(), looks
        await eventually(lambda: looks > before + 2, "it looks again")
        assert late.id not in asked
        await purge(bus, early)
        await eventually(lambda: late.id in asked, "something was removed, so all rooms are asked about")
