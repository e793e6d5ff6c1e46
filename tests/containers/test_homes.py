"""Rooms have a home: clients that name the same room in their address get the same gateway.

With the load balancer of `docker-compose.yml` as it runs. `make test` tests that members meet, and `make compose-check`
also restarts the load balancer, and fills, adds and loses gateways.
"""

import asyncio
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from websockets.exceptions import InvalidStatus

from tests.support.client import Client, clients
from tests.support.compose import BUILD_SECONDS, ROOT, SERVICES, Project, docker
from tests.support.visitor import Visitor, all_in, visiting
from tests.support.waiting import eventually

MOST = 50
"""Connections of a gateway in the tests with three."""

pytestmark = [pytest.mark.container, pytest.mark.timeout(BUILD_SECONDS + 300)]
long = pytest.mark.long


@pytest.fixture(scope="module")
def three(project: Project) -> Iterator[Project]:
    """Three gateways that are soon full, and move nobody by themselves."""
    settings = {"STUDYROOM_GATEWAY_CONNECTIONS_MAX": str(MOST), "STUDYROOM_GATEWAY_SHED_PER_SECOND": "0"}
    with configured(project, settings, gateways=3):
        yield project


@pytest.fixture
def moving(project: Project) -> Iterator[Project]:
    """Two gateways that move rooms soon, and divide rooms with more than two members."""
    settings = {
        "STUDYROOM_GATEWAY_SHED_PER_SECOND": "100",
        "STUDYROOM_GATEWAY_RECONNECT_SPREAD_MS": "500",
        "STUDYROOM_GATEWAY_ROOM_PART_MEMBERS": "2",
    }
    with configured(project, settings, gateways=2):
        yield project


@contextmanager
def configured(project: Project, settings: dict[str, str], *, gateways: int) -> Iterator[None]:
    before = project.environment.copy()
    project.environment |= settings
    try:
        scale(project, gateways)
        yield
    finally:
        project.environment = before
        scale(project, 2)


def scale(project: Project, gateways: int) -> None:
    project.up("--scale", f"gateway={gateways}")
    project.wait_healthy()
    project.wait_balanced()


def new_rooms(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


def home(project: Project, room: str) -> str:
    return f"{project.websocket}?room={room}"


@asynccontextmanager
async def members(project: Project, rooms: list[str]) -> AsyncIterator[list[Client]]:
    """A client in each of the rooms, which its address names."""
    async with clients(*[home(project, room) for room in rooms]) as entered:
        await asyncio.gather(*(client.join(room) for client, room in zip(entered, rooms, strict=True)))
        yield list(entered)


def hosted(project: Project) -> dict[str, int]:
    """How many rooms each gateway hosts."""
    return {one: project.metric(one, "studyroom_gateway_rooms") for one in project.containers("gateway")}


def connections(project: Project) -> dict[str, int]:
    return {one: project.connections(one) for one in project.containers("gateway")}


async def test_members_of_a_room_meet_on_one_gateway_in_any_spelling(project: Project):
    rooms = new_rooms(8)
    async with members(project, rooms), members(project, [room.upper() for room in rooms]):
        assert sum((await asyncio.to_thread(hosted, project)).values()) == len(rooms)


@pytest.mark.parametrize(
    "query", ["", "?room=", "?room=nonsense", f"?room={'0' * 36}", "?rooms=8f14e45f-ceea-467f-a8d1-2f5b3c9e7d10"]
)
async def test_clients_without_a_valid_hint_spread(project: Project, query: str):
    async def spread() -> bool:
        async with clients(*[f"{project.websocket}{query}"] * 6):
            return list((await asyncio.to_thread(connections, project)).values()) == [3, 3]

    await eventually(spread, "clients spread evenly, once new gateways get their full share", 30)


async def test_the_balancer_honours_hints_and_gateways_report_it(project: Project):
    async with clients(project.websocket) as (client,):
        assert client.welcome["room_hints"] is True


WRITTEN_BY_THE_CONTROLLER = """
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
frontend https
  bind :8443
  use_backend rooms if {{ path /ws }} {{ {acl} }}
backend rooms
  balance leastconn
{lines}
  server SRV_1 127.0.0.1:8080 weight 128
"""


def test_haproxy_accepts_the_lines_of_the_component_for_kubernetes(project: Project, tmp_path: Path):
    service = yaml.safe_load((ROOT / "k8s" / "homes" / "haproxy" / "service.yaml").read_text())
    annotations = {name.partition("/")[2]: text for name, text in service["metadata"]["annotations"].items()}
    lines = textwrap.indent(annotations["backend-config-snippet"].strip(), "  ")
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(WRITTEN_BY_THE_CONTROLLER.format(acl=annotations["route-acl"], lines=lines))
    mounted = f"{configuration}:/haproxy.cfg:ro"
    check = ("--entrypoint", "haproxy", SERVICES["haproxy"]["image"], "-c", "-f", "/haproxy.cfg")
    docker("run", "--rm", "--volume", mounted, *check)


@long
async def test_a_restarted_balancer_sends_every_room_to_the_same_gateway(three: Project):
    rooms = new_rooms(40)
    async with members(three, rooms):
        before = await asyncio.to_thread(hosted, three)
        assert all(before.values())
        await asyncio.to_thread(docker, "restart", *three.containers("haproxy"))
        await asyncio.to_thread(three.wait_balanced)
        await eventually(lambda: not sum(connections(three).values()), "all were disconnected", 30)
    async with members(three, rooms):
        assert await asyncio.to_thread(hosted, three) == before


@long
async def test_members_whose_gateway_is_full_meet_on_another_gateway(three: Project):
    (room,) = new_rooms(1)
    async with members(three, [room] * (MOST + 10)):
        assert sorted((await asyncio.to_thread(connections, three)).values()) == [0, 10, MOST]


@long
async def test_members_get_in_while_any_gateway_has_space(three: Project):
    (room,) = new_rooms(1)
    async with members(three, [room] * (2 * MOST)):
        assert sorted((await asyncio.to_thread(connections, three)).values()) == [0, MOST, MOST]
        late = await admitted(three, room)
        assert sorted((await asyncio.to_thread(connections, three)).values()) == [1, MOST, MOST]
        await late.close()


async def admitted(project: Project, room: str) -> Client:
    """Each attempt tries two full gateways and two at random, so the first ones may fail."""
    for _ in range(20):
        with suppress(InvalidStatus):
            return await Client.connect(home(project, room))
    raise AssertionError("refused too often")


@long
@pytest.mark.parametrize(
    ("lose", "restore"), [("kill", "start"), ("pause", "unpause"), ("stop", "start")], ids=["dead", "frozen", "drained"]
)
async def test_the_rooms_of_a_lost_gateway_go_elsewhere_together_and_others_stay(
    three: Project, lose: str, restore: str
):
    rooms = new_rooms(12)
    visitors = [Visitor([home(three, room)], room, may_be_lost=True) for room in rooms * 2]
    async with visiting(visitors):
        victim, moved = max((await asyncio.to_thread(hosted, three)).items(), key=lambda found: found[1])
        await asyncio.to_thread(docker, lose, victim)
        await eventually(lambda: sum(len(visitor.visits) > 1 for visitor in visitors) == 2 * moved, "they moved", 60)
        await all_in(visitors)
        survivors = [one for one in three.containers("gateway") if one != victim]
        counts = [await asyncio.to_thread(three.metric, one, "studyroom_gateway_rooms") for one in survivors]
        assert sum(counts) == len(rooms)
        assert sum(len(visitor.visits) > 1 for visitor in visitors) == 2 * moved
    await asyncio.to_thread(docker, restore, victim)
    await asyncio.to_thread(three.wait_healthy)
    await asyncio.to_thread(three.wait_balanced)


@long
async def test_an_added_gateway_takes_only_its_share_of_the_rooms(three: Project):
    rooms = new_rooms(40)
    async with members(three, rooms):
        before = await asyncio.to_thread(hosted, three)
        try:
            await asyncio.to_thread(scale, three, 4)
            async with members(three, rooms):
                after = await asyncio.to_thread(hosted, three)
        finally:
            await asyncio.to_thread(scale, three, 3)
    assert {one: after[one] for one in before} == before
    (taken,) = [count for one, count in after.items() if one not in before]
    print(f"of 40 rooms an added fourth gateway takes {taken}")
    assert 0 < taken <= 20  # 10 on average


def visitors_of(project: Project, rooms: list[str]) -> list[Visitor]:
    return [Visitor([project.websocket], room, may_be_lost=True, by_hint=True) for room in rooms]


def left(visitors: list[Visitor]) -> int:
    """Count the reports that a member has left."""
    return sum(visit.client.types().count("UserLeft") for visitor in visitors for visit in visitor.visits)


@long
async def test_rooms_move_as_a_whole_to_a_gateway_that_was_added(moving: Project):
    rooms = new_rooms(30)
    visitors = visitors_of(moving, rooms * 2)
    async with visiting(visitors):
        before = await asyncio.to_thread(hosted, moving)
        await asyncio.to_thread(scale, moving, 3)

        async def whole() -> bool:
            after = await asyncio.to_thread(hosted, moving)
            return sum(after.values()) == len(rooms) and all(after.values())

        await eventually(whole, "each room is on one gateway, and the new one has some", 90)
        await all_in(visitors)
        assert left(visitors) == 0
        assert max(len(visitor.visits) for visitor in visitors) <= 3
        async with members(moving, rooms):  # newcomers find the others
            after = await asyncio.to_thread(hosted, moving)
        assert sum(after.values()) == len(rooms)
        assert all(after[one] <= count for one, count in before.items())
        (taken,) = [count for one, count in after.items() if one not in before]
        print(f"of {len(rooms)} rooms an added third gateway takes {taken}")


@long
async def test_a_large_room_is_spread_over_the_gateways(moving: Project):
    await asyncio.to_thread(scale, moving, 3)
    visitors = visitors_of(moving, new_rooms(1) * 32)
    async with visiting(visitors):

        async def spread() -> bool:
            counts = (await asyncio.to_thread(connections, moving)).values()
            return min(counts) > 0 and max(counts) <= 2 / 3 * len(visitors)

        await eventually(spread, "every gateway has some members, and none has most", 90)
        await all_in(visitors)
        assert left(visitors) == 0
        print(f"32 members of one room: {await asyncio.to_thread(connections, moving)}")
