"""A server of a stream without a leader, or a leader that is cut off, answers for a copy that may be older.

Such an answer does not count.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.chat.terms import ChatTerms
from studyroom.presence.leader import Leader
from studyroom.services.provisioner.streams import specifications
from studyroom.services.stack.stack import free_port
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, BusError, BusUnavailable
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, new_user_id
from tests.support.processes import ClusterNode, NatsServer, all_running, clustered_nats_server
from tests.support.proxy import Link, Network
from tests.support.streams import lead, make_streams
from tests.support.waiting import eventually

COPIED, NOT_COPIED = 5, 10


@dataclass(frozen=True)
class Cluster:
    servers: list[NatsServer]
    ways: dict[tuple[int, int], Link]
    """The connections between servers, by their two ends."""

    def cut_off(self, server: NatsServer) -> None:
        """Cut off a server from the others. Its clients stay."""
        for ends, way in self.ways.items():
            if self.servers.index(server) in ends:
                way.cut()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    network = Network()
    ports = [free_port() for _ in range(3)]
    ways = {(one, other): network.link(ports[other]) for one, other in permutations(range(3), 2)}
    servers = []
    for index, port in enumerate(ports):
        routes = tuple(way.port for (one, _), way in ways.items() if one == index)
        servers.append(clustered_nats_server(tmp_path, ClusterNode(f"n{index}", port, routes, only_by_routes=True)))
    with all_running(*servers):
        yield Cluster(servers, ways)
    network.close()


@asynccontextmanager
async def connected_to(*servers: NatsServer) -> AsyncIterator[list[Bus]]:
    async with AsyncExitStack() as stack:
        buses = []
        for server in servers:
            bus = Bus(NatsSettings(url=(server.url,)), BusMetrics(CollectorRegistry()), name="test")
            stack.push_async_callback(bus.close)
            await bus.connect()
            buses.append(bus)
        yield buses


async def write(bus: Bus, count: int) -> int:
    """The last sequence of the presence bucket then."""
    for _ in range(count):
        key = subjects.presence_key(RoomId(str(uuid4())), new_user_id())
        last = (await bus.store(key, b"{}", {}, timeout_seconds=5)).sequence
    return last


async def test_nobody_believes_a_server_that_answers_for_its_older_copy_while_there_is_no_leader(cluster: Cluster):
    leader, _, stale = cluster.servers
    async with connected_to(leader, stale) as (bus, behind):
        await make_streams(bus, specifications(StorageSettings(replicas=3)))
        for stream in (subjects.PRESENCE_STREAM, subjects.CHAT_STREAM, subjects.MODERATION_STREAM):
            await lead(leader, stream)
        await eventually(lambda: _are_copied(bus), "all servers have everything", 30)
        await write(bus, COPIED)
        cluster.cut_off(stale)
        last = await write(bus, NOT_COPIED)

        async def answered() -> int:
            try:
                info = await behind.api(f"STREAM.INFO.{subjects.PRESENCE_STREAM}", timeout_seconds=1)
            except BusError:
                return 0
            newest: int = info["state"]["last_seq"]
            return newest

        assert await eventually(answered, "the server answers for its own copy", 30) < last
        with pytest.raises(BusUnavailable, match="no leader"):
            await Leader(behind, subjects.PRESENCE_STREAM).last()
        with pytest.raises(BusError):
            await ChatTerms(behind).learn()
        assert await Leader(bus, subjects.PRESENCE_STREAM).last() == last


async def test_nobody_believes_a_leader_that_is_cut_off_when_there_is_another(cluster: Cluster):
    """It may take 20 s to notice, and the others elect another within 9 s."""
    other, _, stale = cluster.servers
    async with connected_to(other, stale) as (bus, behind):
        await make_streams(bus, specifications(StorageSettings(replicas=3)))
        for stream in (subjects.CHAT_STREAM, subjects.MODERATION_STREAM):
            await lead(stale, stream)
        await eventually(lambda: _is_learned(behind), "the leader is believed", 30)
        cluster.cut_off(stale)

        async def elected() -> bool:
            try:
                info = await bus.api(f"STREAM.INFO.{subjects.CHAT_STREAM}", timeout_seconds=1)
            except BusError:
                return False
            return info["cluster"].get("leader") not in {None, stale.name}

        await eventually(elected, "the others have another leader", 30)
        with pytest.raises(BusError):
            await ChatTerms(behind).learn()


async def _are_copied(bus: Bus) -> bool:
    try:
        info = await bus.stream_info(subjects.PRESENCE_STREAM)
    except BusError:
        return False
    return all(replica["current"] for replica in info["cluster"]["replicas"])


async def _is_learned(bus: Bus) -> bool:
    try:
        await ChatTerms(bus).learn()
    except BusError:
        return False
    return True
