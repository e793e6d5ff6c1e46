"""The presence bucket comes back shorter than it was, with the same creation time: it begins a new epoch for all."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, BusError
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, new_user_id
from studyroom.shared.contract.presence import CompareRequest, RoomState
from tests.integration.test_presence import Replica
from tests.support.processes import NatsServer, nats_server, running
from tests.support.proxy import Link, Network
from tests.support.waiting import eventually

LOST = 20
"""Changes that are in the lost tail."""


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running(nats_server(tmp_path_factory.mktemp("nats"))) as server:
        yield server


@pytest.fixture
def link(nats: NatsServer) -> Iterator[Link]:
    network = Network()
    try:
        yield network.link(int(nats.url.rsplit(":", 1)[1]))
    finally:
        network.close()


class RoomConnection:
    """Where replicas are started: each with a connection of its own."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self.buses: list[Bus] = []

    async def bus(self, url: str) -> Bus:
        bus = Bus(NatsSettings(url=(url,)), BusMetrics(CollectorRegistry()), name="test")
        await bus.connect()
        self.buses.append(bus)
        return bus

    async def replica(self, url: str) -> Replica:
        replica = Replica(await self.bus(url), self._tasks)
        await replica.store.wait_ready()
        return replica


@pytest.fixture
async def place(nats: NatsServer, tasks: Tasks) -> AsyncIterator[RoomConnection]:
    place = RoomConnection(tasks)
    await ensure(await place.bus(nats.url), specifications(StorageSettings()))
    yield place
    await tasks.stop()
    for bus in place.buses:
        await bus.close()


async def begin_the_same_epoch(*replicas: Replica, other_than: str) -> str:
    def agree() -> bool:
        epochs = {replica.store.epoch for replica in replicas if replica.store.ready}
        return len(epochs) == 1 and other_than not in epochs and all(replica.store.ready for replica in replicas)

    await eventually(agree, "all replicas are in the same new epoch")
    return replicas[0].store.epoch


async def test_replicas_that_knew_the_tail_and_a_later_replica_agree_on_a_new_epoch(
    nats: NatsServer, place: RoomConnection, room: str
):
    own_room, stays, leaves = RoomId(room), new_user_id(), new_user_id()
    replicas = [await place.replica(nats.url) for _ in range(2)]
    before = replicas[0].store.epoch
    await replicas[0].join(own_room, stays)
    leaving = await replicas[0].join(own_room, leaves)
    copy = await asyncio.to_thread(nats.copy_store)
    await replicas[0].leave(own_room, leaves, leaving)
    for _ in range(LOST):
        await replicas[0].join(own_room, new_user_id())
    known = replicas[0].store.mirror.applied
    await asyncio.to_thread(nats.go_back, copy)
    after = await begin_the_same_epoch(*replicas, other_than=before)

    late = await place.replica(nats.url)
    assert late.store.epoch == after
    for replica in (*replicas, late):
        assert sorted(await replica.users(own_room)) == sorted([stays, leaves])
        assert replica.store.mirror.applied < known

    await asyncio.to_thread(nats.go_back, copy)
    await begin_the_same_epoch(*replicas, late, other_than=after)
    assert replicas[0].store.epoch != before


async def test_a_stream_that_has_regrown_before_a_replica_looks_is_found_to_be_another(
    nats: NatsServer, place: RoomConnection, link: Link, room: str
):
    own_room = RoomId(room)
    away = await place.replica(f"nats://127.0.0.1:{link.port}")
    before = away.store.epoch
    await away.join(own_room, new_user_id())
    copy = await asyncio.to_thread(nats.copy_store)
    for _ in range(LOST):
        await away.join(own_room, new_user_id())
    known = away.store.mirror.applied
    link.cut()
    await asyncio.to_thread(nats.go_back, copy)
    fresh = await place.replica(nats.url)
    assert fresh.store.epoch == before
    while fresh.store.mirror.applied <= known + LOST:
        await fresh.join(own_room, new_user_id())
    link.reset()
    link.heal()

    await begin_the_same_epoch(away, fresh, other_than=before)
    assert sorted(await away.users(own_room)) == sorted(await fresh.users(own_room))


async def test_a_replica_that_was_away_takes_the_epoch_that_another_has_begun(
    nats: NatsServer, place: RoomConnection, link: Link, room: str
):
    """It reads a change with a sequence that it knows, and after it the record of the other, which noticed before."""
    own_room = RoomId(room)
    away, here = await place.replica(f"nats://127.0.0.1:{link.port}"), await place.replica(nats.url)
    before = here.store.epoch
    await away.join(own_room, new_user_id())
    await eventually(lambda: away.store.resumable and here.store.ready, "it could resume")
    link.cut()
    for replica, lost in ((away, 1), (here, LOST)):
        replica.store.mirror.catch_up(replica.store.mirror.applied + lost)
    with suppress(BusError):
        await here.join(own_room, new_user_id())
    epoch = await begin_the_same_epoch(here, other_than=before)
    link.reset()
    link.heal()

    await begin_the_same_epoch(away, here, other_than=before)
    assert here.store.epoch == epoch
    assert sorted(await away.users(own_room)) == sorted(await here.users(own_room))


async def test_a_tail_that_only_gateways_remember_is_enough_to_begin_a_new_epoch(
    nats: NatsServer, place: RoomConnection, room: str
):
    own_room = RoomId(room)
    replica = await place.replica(nats.url)
    await replica.join(own_room, new_user_id())
    epoch, applied = replica.store.epoch, replica.store.mirror.applied

    async def compare(revision: int) -> str:
        request = CompareRequest(epoch=epoch, rooms={own_room: RoomState(revision=revision, digest=0)})
        return (await replica.operations.compare(request)).epoch

    assert await compare(applied) == epoch
    with pytest.raises(BusError):
        await compare(applied + LOST)
    after = await begin_the_same_epoch(replica, other_than=epoch)
    assert await compare(applied + LOST) == after


async def test_a_write_that_gets_an_old_sequence_shows_that_the_tail_is_lost(
    nats: NatsServer, place: RoomConnection, room: str
):
    """No reconnect shows it."""
    own_room = RoomId(room)
    replica = await place.replica(nats.url)
    await replica.join(own_room, new_user_id())
    before = replica.store.epoch
    replica.store.mirror.catch_up(replica.store.mirror.applied + LOST)
    with suppress(BusError):
        await replica.join(own_room, new_user_id())
    await begin_the_same_epoch(replica, other_than=before)


async def test_the_record_of_an_epoch_is_sent_to_no_gateway(nats: NatsServer, place: RoomConnection):
    """They learn of it from presence, together with the roster that belongs to it."""
    received: list[str] = []
    bus = await place.bus(nats.url)
    await bus.subscribe("room.>", lambda message: received.append(message.subject))
    await bus.store(subjects.PRESENCE_INCARNATION, b"{}", {}, timeout_seconds=5)
    await bus.flush()
    assert not received
