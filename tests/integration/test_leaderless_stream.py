"""While a stream has no leader any server answers for its own copy, which may be older: nobody is to believe it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.chat.terms import ChatTerms
from studyroom.presence.leader import Leader
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.services.stack.stack import free_port
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, BusError, BusUnavailable
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, new_user_id
from tests.support.processes import ClusterNode, NatsServer, all_running, clustered_nats_server
from tests.support.proxy import Link, Network
from tests.support.waiting import eventually

COPIED, NOT_COPIED = 5, 10


@dataclass(frozen=True)
class Cluster:
    servers: list[NatsServer]
    ways: dict[tuple[int, int], Link]
    """By the server that dials and the one that is dialled."""

    def cut_off(self, server: NatsServer) -> None:
        """From the others. Its clients stay."""
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


async def connected_to(server: NatsServer) -> Bus:
    bus = Bus(NatsSettings(url=(server.url,)), BusMetrics(CollectorRegistry()), name="test")
    await bus.connect()
    return bus


async def write(bus: Bus, count: int) -> int:
    """The last sequence of the presence bucket then."""
    for _ in range(count):
        key = subjects.presence_key(RoomId(str(uuid4())), new_user_id())
        last = (await bus.store(key, b"{}", {}, timeout_seconds=5)).sequence
    return last


async def test_nobody_believes_a_server_that_answers_for_its_older_copy_while_there_is_no_leader(cluster: Cluster):
    first = await connected_to(cluster.servers[0])
    await eventually(lambda: _are_made(first), "the streams are there", 30)
    leader = await eventually(lambda: _leader(first), "there is a leader", 30)
    stale = next(server for server in cluster.servers if server.name != leader)
    bus = await connected_to(next(server for server in cluster.servers if server.name == leader))
    behind = await connected_to(stale)
    try:
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
            await Leader(behind).last()
        with pytest.raises(BusError):
            await ChatTerms(behind).learn()
        assert await Leader(bus).last() == last
    finally:
        await asyncio.gather(first.close(), bus.close(), behind.close())


async def _are_made(bus: Bus) -> bool:
    try:
        await ensure(bus, specifications(StorageSettings(replicas=3)))
    except BusError:
        return False
    return True


async def _leader(bus: Bus) -> str:
    """Its name, when all servers have everything."""
    try:
        info = await bus.stream_info(subjects.PRESENCE_STREAM)
    except BusError:
        return ""
    name: str = info["cluster"]["leader"]
    return name if all(replica["current"] for replica in info["cluster"]["replicas"]) else ""
