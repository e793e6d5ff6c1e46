"""The system of `docker-compose.yml` while its containers die, freeze, are cut off, and become more and fewer.

Clients that do as the protocol asks go through the load balancer all the time. Nobody who stays is reported to have
left, and no chat is lost, doubled or out of order. `make test` kills a gateway, and `make compose-check` does the rest.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import pytest

from tests.support.chat import Stored
from tests.support.compose import BUILD_SECONDS, Project, docker
from tests.support.tokens import token_of
from tests.support.visitor import Visitor, reconnects, settle, visiting
from tests.support.waiting import eventually, http_get

CLIENTS, ROOMS = 24, 4
GRACE_SECONDS = 5
QUIET_SECONDS = 3.0
"""The time between two failures of containers, with everyone talking."""

pytestmark = [pytest.mark.container, pytest.mark.timeout(BUILD_SECONDS + 300)]
long = pytest.mark.long


def history(project: Project, room: str) -> dict[int, str]:
    """Every stored message of a room: its `seq` and id."""
    token = token_of(str(uuid4()))
    found: dict[int, str] = {}
    before = ""
    while True:
        url = f"{project.http}/api/v1/rooms/{room}/messages?limit=200&before={before}&access_token={token}"
        status, body = http_get(url.replace("before=&", ""))
        assert status == 200, body
        page = json.loads(body)
        found |= {message["seq"]: message["id"] for message in page["messages"]}
        if page["before"] is None:
            return found
        before = page["before"]


class Crowd:
    """Clients in a few rooms, and the judgement of their views."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.rooms = [str(uuid4()) for _ in range(ROOMS)]
        self.visitors = [
            Visitor([project.websocket], self.rooms[index % ROOMS], may_be_lost=True) for index in range(CLIENTS)
        ]

    def is_in(self) -> bool:
        return all(visitor.is_in() for visitor in self.visitors)

    @property
    def reconnects(self) -> int:
        return reconnects(self.visitors)

    async def judge(self) -> None:
        await settle(self.visitors, GRACE_SECONDS, self._stored)

    async def _stored(self) -> Stored:
        return {room: await asyncio.to_thread(history, self._project, room) for room in self.rooms}


@asynccontextmanager
async def talking(project: Project) -> AsyncIterator[Crowd]:
    """Everyone is in and talks; at the end all must have seen everything."""
    crowd = Crowd(project)
    async with visiting(crowd.visitors):
        await asyncio.sleep(QUIET_SECONDS)
        yield crowd
        await crowd.judge()


async def started(project: Project, *containers: str) -> None:
    """Start them again, and return when everything is healthy."""
    await asyncio.to_thread(docker, "start", *containers)
    await asyncio.to_thread(project.wait_healthy)


async def on(project: Project, crowd: Crowd, gateway: str) -> int:
    """How many clients a gateway has."""
    found = await asyncio.to_thread(project.connections, gateway)
    assert found <= len(crowd.visitors)
    return found


# --- failures --------------------------------------------------------------------------------------------


async def test_a_gateway_is_killed(project: Project):
    async with talking(project) as crowd:
        victim = project.containers("gateway")[0]
        lost = await on(project, crowd, victim)
        assert lost > 0
        await asyncio.to_thread(docker, "kill", victim)
        await eventually(lambda: crowd.reconnects >= lost and crowd.is_in(), "everyone is on another gateway", 15)
    await started(project, victim)


@long
async def test_a_gateway_is_stopped(project: Project):
    """All clients are asked to come back with 1012, and the process exits with 0 within its deadline."""
    async with talking(project) as crowd:
        victim = project.containers("gateway")[1]
        asked = await on(project, crowd, victim)
        await asyncio.to_thread(docker, "stop", "--time", "35", victim)
        await eventually(lambda: crowd.reconnects == asked and crowd.is_in(), "everyone is on another gateway", 15)
        codes = [visit.client.close_code for visitor in crowd.visitors for visit in visitor.visits[:-1]]
        assert codes == [1012] * asked
        assert docker("inspect", "--format", "{{.State.ExitCode}}", victim).strip() == "0"
    await started(project, victim)


@long
async def test_a_gateway_freezes(project: Project):
    """Its clients receive nothing at all. The load balancer notices, and ends their connections."""
    async with talking(project) as crowd:
        victim = project.containers("gateway")[0]
        lost = await on(project, crowd, victim)
        assert lost > 0
        began = time.monotonic()
        await asyncio.to_thread(docker, "pause", victim)
        try:
            await eventually(lambda: crowd.reconnects >= lost and crowd.is_in(), "everyone is on another gateway", 15)
            print(f"a frozen gateway was left after {time.monotonic() - began:.1f} s")
        finally:
            await asyncio.to_thread(docker, "unpause", victim)
        await eventually(partial(_is_empty, project, victim), "it notices that its clients have gone", 30)
    await asyncio.to_thread(project.wait_healthy)


async def _is_empty(project: Project, gateway: str) -> bool:
    return await asyncio.to_thread(project.connections, gateway) == 0


@long
@pytest.mark.parametrize("node", ["nats-1", "nats-2", "nats-3"])
async def test_a_nats_server_is_killed(project: Project, node: str):
    async with talking(project) as crowd:
        (victim,) = project.containers(node)
        await asyncio.to_thread(docker, "kill", victim)
        await asyncio.sleep(2 * QUIET_SECONDS)
        assert crowd.reconnects == 0
        await started(project, victim)


@long
async def test_a_nats_server_is_stopped(project: Project):
    """Stop as in an upgrade: it hands over its leaderships, lets its clients go to the others, and exits with 0."""
    async with talking(project) as crowd:
        (victim,) = project.containers("nats-1")
        await asyncio.to_thread(project.compose, "stop", "nats-1")
        assert docker("inspect", "--format", "{{.State.ExitCode}}", victim).strip() == "0"
        assert crowd.reconnects == 0
        await started(project, victim)


@long
async def test_presence_is_cut_off(project: Project):
    """First one replica, so that the other answers; then the other one too, for less than a join may take."""
    networks = f"{project.name}_default"
    async with talking(project) as crowd:
        for victim in project.containers("presence"):
            await asyncio.to_thread(docker, "network", "disconnect", networks, victim)
            await asyncio.sleep(QUIET_SECONDS)
            await asyncio.to_thread(docker, "network", "connect", "--alias", "presence", networks, victim)
            await asyncio.to_thread(project.wait_healthy)
        assert crowd.reconnects == 0


@long
async def test_there_are_more_gateways_and_fewer(project: Project):
    """2, 4, 2: new ones get clients and are scraped, and those that go ask theirs to come back."""
    async with talking(project) as crowd:
        await asyncio.to_thread(project.up, "--scale", "gateway=4")
        await eventually(partial(_scrapes, project, 4), "Prometheus scrapes four gateways", 60)
        newcomers = [Visitor([project.websocket], crowd.rooms[0], may_be_lost=True) for _ in range(8)]
        visits = [asyncio.create_task(visitor.visit()) for visitor in newcomers]
        crowd.visitors += newcomers
        await eventually(crowd.is_in, "the newcomers are in", 30)
        counts = [await on(project, crowd, gateway) for gateway in project.containers("gateway")]
        print(f"clients of four gateways: {counts}")
        assert sum(counts) == len(crowd.visitors)
        assert all(counts)
        await asyncio.to_thread(project.up, "--scale", "gateway=2")
        await eventually(partial(_scrapes, project, 2), "Prometheus scrapes two gateways", 60)
        left = {visit.client.close_code for visitor in crowd.visitors for visit in visitor.visits[:-1]}
        assert left <= {1012}
    await asyncio.gather(*visits)


async def _scrapes(project: Project, gateways: int) -> bool:
    found = await asyncio.to_thread(project.query, 'count(up{job="gateway"} == 1)')
    return bool(found) and math.isclose(float(found[0]["value"][1]), gateways)
