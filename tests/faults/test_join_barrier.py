"""A room's subscription is new to the stream's leader some time after it was made: no join may fall into that gap.

Three NATS servers; from the gateway's server to the leader's everything takes long, all other ways are fast. So
presence answers long before the leader knows that the gateway listens.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from studyroom.services.stack.stack import free_port
from studyroom.shared.contract import subjects
from tests.support.client import Client
from tests.support.presence import connected, users_in
from tests.support.processes import ClusterNode, NatsServer, ServiceProcess, all_running, clustered_nats_server, service
from tests.support.proxy import Delay, delay_proxies
from tests.support.roster import memberships
from tests.support.streams import lead
from tests.support.waiting import eventually, wait_until

SLOW_SECONDS = 0.4
"""Far longer than a join takes, on a busy machine too."""
ROUTE_CONNECTIONS = 4
"""Between two servers: nats-server's pool of three, and one for its system account."""
JOINS = 500
AT_ONCE = 25
WITHOUT_BARRIER = Path(__file__).parent / "without_join_barrier.py"


def _routes(server: NatsServer) -> int:
    return int(server.monitor("routez").get("num_routes", 0))


@contextmanager
def slow_cluster(directory: Path) -> Iterator[list[NatsServer]]:
    ports = [free_port() for _ in range(3)]
    with delay_proxies({ports[0]: Delay(back=SLOW_SECONDS), ports[1]: Delay(there=SLOW_SECONDS)}) as slow:
        nodes = [
            ClusterNode("n0", ports[0], (slow[ports[1]], ports[2])),
            ClusterNode("n1", ports[1], (slow[ports[0]], ports[2])),
            ClusterNode("n2", ports[2], (ports[0], ports[1])),
        ]
        servers = [clustered_nats_server(directory, node) for node in nodes]
        try:
            # All connections of the slow route are made first. The third server announces the other two to each other,
            # and any missing connection would then be made straight between them.
            for server in servers[:2]:
                server.start()
            both = servers[:2]
            wait_until(
                lambda: all(_routes(server) == ROUTE_CONNECTIONS for server in both), "the slow route is complete"
            )
            servers[2].start()
            for server in servers:
                server.wait_ready()
            yield servers
        finally:
            for server in servers:
                server.stop()


EAGER = {"STUDYROOM_GATEWAY_JOINS_PER_MINUTE": "100000"}


@dataclass
class Joining:
    """A client on the gateway far from the leader, and two that come and go on the near one."""

    watcher: Client
    others: tuple[Client, Client]

    async def round(self, room: str) -> None:
        """The others come and go while the watcher joins, and once more right after that."""
        first, second = self.others
        await first.join(room)
        joined = asyncio.create_task(self.watcher.join(room))
        while not joined.done():
            await second.join(room)
            await second.leave()
        await joined
        await first.leave()
        await second.join(room)


@asynccontextmanager
async def joining(far: str, near: str) -> AsyncIterator[list[Joining]]:
    groups = [
        Joining(await Client.connect(far), (await Client.connect(near), await Client.connect(near)))
        for _ in range(AT_ONCE)
    ]
    try:
        yield groups
    finally:
        for group in groups:
            for client in (group.watcher, *group.others):
                await client.drop()


async def count_wrong_rosters(
    leader: NatsServer, nats_url: str, far: str, near: str, *, until_first: bool = False
) -> int:
    """How many of the joins ended with a roster that is not the truth."""
    wrong = 0
    async with joining(far, near) as groups, connected(nats_url) as bus:
        for _ in range(JOINS // AT_ONCE):
            if wrong and until_first:
                break
            await lead(leader, subjects.PRESENCE_STREAM)
            rooms = [str(uuid4()) for _ in groups]
            await asyncio.gather(*(group.round(room) for group, room in zip(groups, rooms, strict=True)))
            for group, room in zip(groups, rooms, strict=True):
                truth = {group.watcher.user, group.others[1].user}

                async def settled(room: str = room, truth: set[str] = truth) -> bool:
                    return await users_in(bus, room) == truth

                await eventually(settled, "presence knows the truth")
            wrong += sum(
                await asyncio.gather(*(is_wrong(group, room) for group, room in zip(groups, rooms, strict=True)))
            )
    return wrong


async def is_wrong(group: Joining, room: str) -> bool:
    truth = {group.watcher.user, group.others[1].user}

    def right() -> bool:
        membership = memberships(group.watcher.log)[-1]
        return membership.room == room and membership.users == truth

    try:
        await eventually(right, "the roster becomes the truth", 2)
    except AssertionError:
        return True
    return False


@pytest.mark.timeout(240)
async def test_no_event_is_missed_when_500_fresh_rooms_are_joined_over_slow_routes_and_without_the_barrier_some_are(
    tmp_path: Path,
):
    with slow_cluster(tmp_path) as servers:
        near_url, far_url = servers[2].url, servers[0].url
        started: list[ServiceProcess] = [
            service("provisioner", tmp_path, near_url, STUDYROOM_STORAGE_REPLICAS="3"),
            service("presence", tmp_path, near_url),
            service("gateway", tmp_path, near_url, **EAGER),
            service("gateway", tmp_path, far_url, **EAGER),
            service("gateway", tmp_path, far_url, **EAGER),
        ]
        near, far, broken = started[2:]
        broken.command = [sys.executable, str(WITHOUT_BARRIER), "gateway"]
        with all_running(*started):
            assert await count_wrong_rosters(servers[1], near_url, far.url, near.url) == 0
            retries = far.metric("studyroom_gateway_join_barrier_retries_total")
            assert retries > 0, "the way from the gateway to the leader was not slow"
            without = await count_wrong_rosters(servers[1], near_url, broken.url, near.url, until_first=True)
    print(f"{JOINS} joins: 0 wrong with the barrier ({retries:.0f} asked again), {without} wrong without it")
    assert without > 0
