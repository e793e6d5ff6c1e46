"""Members of a room meet at its home after a gateway was added or they joined on an open connection."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.room_hints import Spread, room_hint
from tests.support.balancer import Balancer, balancer
from tests.support.client import Client, clients
from tests.support.mover import Mover
from tests.support.processes import NatsServer, ServiceProcess, running, service
from tests.support.tokens import SECRET
from tests.support.visitor import Visitor, all_in, visiting
from tests.support.waiting import eventually

Start = Callable[[], ServiceProcess]
PART_MEMBERS = 4
SETTINGS = {
    "STUDYROOM_GATEWAY_JWT_SECRET": SECRET,
    "STUDYROOM_GATEWAY_GUESTS": "true",
    "STUDYROOM_GATEWAY_ROOM_HINTS": "true",
    "STUDYROOM_GATEWAY_ROOM_PART_MEMBERS": str(PART_MEMBERS),
    "STUDYROOM_GATEWAY_SHED_PER_SECOND": "100",
    "STUDYROOM_GATEWAY_RECONNECT_SPREAD_MS": "200",
    "STUDYROOM_GATEWAY_MOVE_WITHIN_MS": "2000",
}
MOVE_SECONDS = 60
"""Gateways wait until the set of gateways has not changed for ten seconds, and then ask one member of each room."""


@pytest.fixture
def start(own_nats: NatsServer, tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway beside a provisioner and presence."""
    with ExitStack() as opened:
        for name in ("provisioner", "presence"):
            opened.enter_context(running(service(name, tmp_path, own_nats.url)))

        def gateway() -> ServiceProcess:
            return opened.enter_context(running(service("gateway", tmp_path, own_nats.url, **SETTINGS)))

        yield gateway


def new_rooms(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


def rooms_at(gateways: list[ServiceProcess]) -> dict[str, float]:
    return {gateway.url: gateway.metric("studyroom_gateway_rooms") for gateway in gateways}


def members_at(gateways: list[ServiceProcess]) -> dict[str, float]:
    return {gateway.url: gateway.metric("studyroom_gateway_room_connections") for gateway in gateways}


def left(visitors: list[Visitor]) -> int:
    """Count the reports that a member has left."""
    return sum(visit.client.types().count("UserLeft") for visitor in visitors for visit in visitor.visits)


async def members_meet(visitors: list[Visitor], gateways: list[ServiceProcess], expected: dict[str, int]) -> None:
    await eventually(lambda: members_at(gateways) == expected, "members are at their homes", MOVE_SECONDS)
    await all_in(visitors)


def a_room_of(balancing: Balancer, gateway: ServiceProcess) -> str:
    return next(room for room in iter(lambda: str(uuid4()), "") if balancing.home(room) == gateway.url)


async def test_an_added_gateway_gets_whole_rooms_and_nobody_is_reported_as_gone(start: Start):
    old = [start(), start()]
    async with balancer(*[gateway.url for gateway in old]) as balancing:
        rooms = new_rooms(12)
        before = {room: balancing.home(room) for room in rooms}
        # Two of three open the next connection before they leave.
        kinds = [Visitor] * len(rooms) + [Mover] * 2 * len(rooms)
        visitors = [kind([balancing.url], room, by_hint=True) for kind, room in zip(kinds, rooms * 3, strict=True)]
        async with visiting(visitors):
            gateways = [*old, await asyncio.to_thread(start)]
            balancing.urls.append(gateways[-1].url)
            homes = Counter(map(balancing.home, rooms))
            moved = [room for room in rooms if balancing.home(room) != before[room]]
            await members_meet(visitors, gateways, {gateway.url: 3 * homes[gateway.url] for gateway in gateways})
            assert rooms_at(gateways) == {gateway.url: homes[gateway.url] for gateway in gateways}
            asked = Counter(dict.fromkeys(rooms, 0))
            for visitor in visitors:
                assert len(visitor.visits) <= 3  # the first two gateways may have asked before there was a third
                asked[visitor.room] += len(visitor.visits) - 1
            assert all(asked[room] >= 3 if room in moved else asked[room] <= 2 for room in rooms)
            assert left(visitors) == 0
            assert max((gap for one in visitors if isinstance(one, Mover) for gap in one.gaps), default=-1) < 0
            counted = [sum(gateway.metric(f"studyroom_gateway_{name}_total") for gateway in gateways)
                       for name in ("rooms_moved", "room_members_moved")]  # fmt: skip
            assert counted == [len(moved), 2 * len(moved)]


async def test_members_that_joined_on_an_open_connection_are_brought_home_and_others_left_in_peace(start: Start):
    away, home = gateways = [start(), start()]
    async with balancer(*[gateway.url for gateway in gateways]) as balancing:
        room, elsewhere = a_room_of(balancing, home), a_room_of(balancing, away)
        strays = [kind([balancing.url], room, hint=elsewhere) for kind in (Visitor, Mover)]
        visitors = [*strays, Visitor([balancing.url], room, by_hint=True)]
        async with clients(away.url) as (without_hints,), visiting(visitors):
            await without_hints.join(room)
            await members_meet(visitors, gateways, {away.url: 1, home.url: 3})
            assert [len(visitor.visits) for visitor in strays] == [2, 2]
            assert without_hints.close_code is None
            assert left(visitors) == 0
            assert without_hints.payloads("UserLeft") == []


async def test_a_large_room_is_spread_over_the_homes_of_its_parts(start: Start):
    gateways = [start(), start()]
    async with balancer(*[gateway.url for gateway in gateways]) as balancing:
        (room,) = new_rooms(1)
        visitors = [Visitor([balancing.url], room, by_hint=True) for _ in range(24)]
        parts = Spread(PART_MEMBERS).parts(len(visitors))
        homes = Counter(balancing.home(room_hint(RoomId(room), UserId(visitor.user), parts)) for visitor in visitors)
        async with visiting(visitors):
            await members_meet(visitors, gateways, {gateway.url: homes[gateway.url] for gateway in gateways})
            assert left(visitors) == 0
            hints = [one.visits[-1].client.payloads("JoinedRoom")[0].get("room_hint", room) for one in visitors]
            assert set(hints) - {room}, "some joined when the room was large already"
            for visitor, hint in zip(visitors, hints, strict=True):
                # Its room may have been smaller at its join. Then the hint is another one, with the same home.
                assert balancing.home(hint) == balancing.home(room_hint(RoomId(room), UserId(visitor.user), parts))


async def test_a_drain_sends_small_rooms_first_and_each_as_a_whole(start: Start):
    gateway = start()
    async with clients(*[gateway.url] * 110) as crowd:
        groups: list[list[Client]] = [crowd[:60], *[crowd[at : at + 10] for at in range(60, 100, 10)]]
        for members, room in zip(groups, new_rooms(len(groups)), strict=True):
            await asyncio.gather(*(client.join(room) for client in members))
        gateway.signal(signal.SIGTERM)
        await asyncio.gather(*(client.ended() for client in crowd))
        assert {client.close_code for client in crowd} == {1012}
        outside, large, *small = [
            sorted(client.closed_at or 0.0 for client in members) for members in [crowd[100:], *groups]
        ]
        # The drain takes two seconds. Closes within a few milliseconds may arrive in any order.
        assert outside[-1] <= min(times[0] for times in small) + 0.1
        assert max(times[-1] for times in small) <= large[0] + 0.1
        assert all(times[-1] - times[0] < 0.6 for times in small)
