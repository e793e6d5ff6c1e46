"""The stream of chat comes back shorter than it was, with the same creation time: it begins a new epoch for all."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.chat.publisher import ChatPublisher
from studyroom.gateway.chat.stream import ChatStream, Page
from studyroom.gateway.chat.terms import Known
from studyroom.gateway.living_chat.stored_changes import StoredChanges
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, BusError
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_stored, encode_tombstone
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.ids import MessageId, RoomId, new_message_id, new_user_id
from tests.integration.test_backfill import hosting, store_chat
from tests.support.processes import NatsServer, nats_server, running
from tests.support.waiting import eventually

KEPT, LOST = 5, 20


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running(nats_server(tmp_path_factory.mktemp("nats"))) as server:
        yield server


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[Bus]:
    bus = Bus(NatsSettings(url=(nats.url,)), BusMetrics(CollectorRegistry()), name="test")
    await bus.connect()
    await ensure(bus, specifications(StorageSettings()))
    yield bus
    await bus.close()


@pytest.fixture
def own_room() -> RoomId:
    return RoomId(str(uuid4()))


async def started(bus: Bus) -> ChatStream:
    stream = ChatStream(bus)
    await stream.start()
    return stream


async def epoch_of(stream: ChatStream) -> str:
    async def learned() -> str:
        try:
            return (await stream.learn()).epoch
        except BusError:
            return ""

    epoch: str = await eventually(learned, "NATS answers")
    return epoch


async def go_back(nats: NatsServer, bus: Bus, room: RoomId) -> None:
    """KEPT messages of the room are stored, and LOST ones are no more."""
    await store_chat(bus, room, KEPT)
    copy = await asyncio.to_thread(nats.copy_store)
    await store_chat(bus, room, LOST)
    await asyncio.to_thread(nats.go_back, copy)
    await eventually(lambda: bus.connected, "NATS is back")


async def test_a_gateway_that_knew_the_tail_begins_an_epoch_that_all_follow(
    nats: NatsServer, bus: Bus, own_room: RoomId
):
    remembers, other = await started(bus), await started(bus)
    replaced: list[str] = []
    other.on_replaced(lambda: replaced.append("other"))
    before = remembers.terms.epoch
    await store_chat(bus, own_room, KEPT)
    copy = await asyncio.to_thread(nats.copy_store)
    last = await store_chat(bus, own_room, LOST)
    remembers.know(Known(last))
    await asyncio.to_thread(nats.go_back, copy)

    after = await epoch_of(remembers)
    assert after != before
    assert await epoch_of(other) == after
    assert replaced == ["other"]
    assert (await started(bus)).terms.epoch == after
    assert await epoch_of(remembers) == after

    await asyncio.to_thread(nats.go_back, copy)  # and the record of that epoch is lost as well
    assert await epoch_of(remembers) not in {before, after, ""}
    assert await epoch_of(other) == remembers.terms.epoch


async def test_two_that_notice_at_once_begin_one_epoch(nats: NatsServer, bus: Bus, own_room: RoomId):
    both = [await started(bus) for _ in range(2)]
    for stream in both:
        stream.know(Known(10**6))
    epochs = await asyncio.gather(*(epoch_of(stream) for stream in both))
    assert epochs[0] == epochs[1] == await epoch_of(both[0])


async def test_a_stream_that_has_regrown_past_the_known_position_is_found_to_be_another(
    nats: NatsServer, bus: Bus, own_room: RoomId
):
    await store_chat(bus, own_room, KEPT)
    copy = await asyncio.to_thread(nats.copy_store)
    await store_chat(bus, own_room, LOST)
    away = await started(bus)
    before = away.terms.epoch
    await asyncio.to_thread(nats.go_back, copy)
    await eventually(lambda: bus.connected, "NATS is back")
    await store_chat(bus, own_room, 2 * LOST)
    assert await epoch_of(away) != before


async def test_growing_trimming_and_purging_cause_no_other_epoch(bus: Bus, own_room: RoomId):
    stream = await started(bus)
    before = stream.terms.epoch
    for request in ({"filter": subjects.chat(own_room), "keep": 1}, {"filter": subjects.chat(own_room)}, {}):
        last = await store_chat(bus, own_room, KEPT)
        assert await epoch_of(stream) == before
        await bus.api(f"STREAM.PURGE.{subjects.CHAT_STREAM}", request)
        stream.know(Known(last))
        assert await epoch_of(stream) == before


async def test_a_deletion_in_the_lost_tail_takes_no_message_that_came_in_its_place(
    nats: NatsServer, bus: Bus, tasks: Tasks, own_room: RoomId, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("studyroom.gateway.chat.deletions._ERASE_AFTER_SECONDS", (0.0, 0.0))
    stream = await started(bus)
    deletions = Deletions(bus, streams := ByGroup([stream]), tasks, StoredChanges(streams).after)
    await store_chat(bus, own_room, KEPT)
    copy = await asyncio.to_thread(nats.copy_store)
    first, other = new_message_id(), new_message_id()
    deleted = await store_chat_with_id(bus, own_room, first)
    tombstone = Stored.of(deleted + 1, encode_tombstone(first, deleted), "")
    await asyncio.to_thread(nats.go_back, copy)
    await eventually(lambda: bus.connected, "NATS is back")
    assert await store_chat_with_id(bus, own_room, other) == deleted

    await deletions.erase_later(own_room, tombstone)
    assert await stream.message(deleted) is not None
    await deletions.erase_later(own_room, Stored.of(deleted + 1, encode_tombstone(other, deleted), ""))
    assert await stream.message(deleted) is None


async def store_chat_with_id(bus: Bus, room: RoomId, message: MessageId) -> int:
    encoded = encode_stored(new_user_id(), "Ann", "hello", 1, message)
    return (await bus.store(subjects.chat(room), encoded, {}, timeout_seconds=5)).sequence


@dataclass
class Noted:
    """Notes the outcomes of messages."""

    outcomes: list[str]

    def stored(self, sequence: int) -> None:
        self.outcomes.append(f"stored {sequence}")

    def repeated(self, copy: Stored) -> None:
        self.outcomes.append(f"repeated {copy.sequence}")

    def full(self) -> None:
        self.outcomes.append("full")

    def unknown(self) -> None:
        self.outcomes.append("unknown")

    def lost(self) -> None:
        self.outcomes.append("lost")


async def test_a_retry_gets_no_position_of_a_stream_that_may_be_another(
    nats: NatsServer, bus: Bus, tasks: Tasks, own_room: RoomId
):
    """The message has the position of another message that others know, until the loss of that message is noticed."""
    stream = await started(bus)
    bus.on_disconnected(stream.invalidate)
    chat = ChatPublisher(
        bus,
        tasks,
        GatewayMetrics(CollectorRegistry()),
        ByGroup([stream]),
        deadline_seconds=5,
        acknowledged=lambda *_: None,
    )
    await chat.start()
    outcomes: list[str] = []

    async def send_again() -> list[str]:
        """How that has ended."""
        before = len(outcomes)
        encoded = encode_stored(author, "Ann", "hello", 1, message)
        deduplication_id = subjects.chat_deduplication_id(own_room, author, message)
        chat.publish(own_room, message, encoded, deduplication_id, Noted(outcomes))
        await eventually(lambda: len(outcomes) > before, "its author is answered")
        return outcomes[before:]

    author, message = new_user_id(), new_message_id()
    await go_back(nats, bus, own_room)
    first = stream.terms.last + KEPT + 1

    assert await send_again() == [f"stored {first}"]
    assert not stream.sure
    assert await send_again() == ["unknown"]
    await epoch_of(stream)
    assert await send_again() == [f"repeated {first}"]


async def test_chat_read_after_a_reconnect_is_shown_only_in_its_own_epoch(
    nats: NatsServer, bus: Bus, tasks: Tasks, own_room: RoomId, monkeypatch: pytest.MonkeyPatch
):
    """NATS comes back with less while the messages of a room are being read."""
    stream = await started(bus)
    metrics = GatewayMetrics(CollectorRegistry())
    rooms = Rooms()
    filling = Backfill(rooms, stream, tasks, metrics, at_most=100)
    stream.on_replaced(filling.replaced)
    bus.on_disconnected(filling.disconnected)
    await store_chat(bus, own_room, KEPT)
    copy = await asyncio.to_thread(nats.copy_store)
    await store_chat(bus, own_room, LOST)
    before = (await stream.learn()).epoch
    began, read, newest = asyncio.Event(), asyncio.Event(), stream.newest

    async def newest_after_the_loss(room: RoomId, count: int) -> Page:
        if not began.is_set():
            began.set()
            await asyncio.to_thread(nats.go_back, copy)
            await eventually(lambda: bus.connected, "NATS is back")
        page = await newest(room, count)
        read.set()
        return page

    monkeypatch.setattr(stream, "newest", newest_after_the_loss)
    async with hosting(rooms, bus, metrics).hold(own_room) as room:
        shown: list[str] = []
        begin = room.begin_chat

        def begin_chat(reach: int, messages: list[Stored]) -> None:
            shown.append(stream.terms.epoch)
            begin(reach, messages)

        monkeypatch.setattr(room, "begin_chat", begin_chat)
        filling.catch_up(room)
        await read.wait()
        after = await epoch_of(stream)
        await filling.ready(room)
    assert after != before
    assert shown == [after]


async def test_authors_of_acknowledged_messages_that_are_gone_are_notified(
    nats: NatsServer, bus: Bus, tasks: Tasks, own_room: RoomId
):
    stream = await started(bus)
    metrics = GatewayMetrics(CollectorRegistry())
    rooms = Rooms()
    filling = Backfill(rooms, stream, tasks, metrics, at_most=100)
    stream.on_replaced(filling.replaced)
    bus.on_disconnected(filling.disconnected)
    unknown: list[int] = []
    async with hosting(rooms, bus, metrics).hold(own_room) as room:
        await store_chat(bus, own_room, KEPT)
        copy = await asyncio.to_thread(nats.copy_store)
        last = await store_chat(bus, own_room, LOST)
        await filling.catch_up(room)
        assert room.history.passed(last)
        filling.acknowledged(own_room, last + 1, lambda: unknown.append(last + 1))
        await asyncio.to_thread(nats.go_back, copy)
        await epoch_of(stream)
        await filling.ready(room)
        assert len(room.history.newest(100)) == KEPT
        after = await store_chat(bus, own_room, 1)
        await eventually(lambda: room.history.position == after, "later chat arrives")
    assert unknown == [last + 1]
