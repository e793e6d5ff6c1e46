"""Adds a ninth gateway to eight under HAProxy, and counts the rooms that move and the members who are reported as gone.

Everything here is real: NATS, presence, nine gateways, HAProxy, and clients that reconnect as the protocol asks.
"""

import asyncio
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from benchmarks import haproxy
from benchmarks.generator import Failed
from benchmarks.rings import Ring, key_of, place_of
from tests.support.processes import ServiceProcess, all_running, nats_server, running, service
from tests.support.tokens import SECRET
from tests.support.visitor import Visitor, all_in, reconnects, visiting
from tests.support.waiting import eventually

_GATEWAYS = 9
_ROOMS, _MEMBERS = 48, 3
_MOVE_SECONDS = 120.0
_GRACE_SECONDS = 15.0
"""Longer than presence keeps a place, so every member who was lost on the way has left by then."""
_SETTINGS = {
    "STUDYROOM_GATEWAY_JWT_SECRET": SECRET,
    "STUDYROOM_GATEWAY_ROOM_HINTS": "true",
    "STUDYROOM_GATEWAY_SHED_PER_SECOND": "20",
    "STUDYROOM_GATEWAY_RECONNECT_SPREAD_MS": "500",
    "STUDYROOM_GATEWAY_ADDRESS_CONNECTIONS_MAX": "0",
    "STUDYROOM_GATEWAY_HANDSHAKES_PER_SECOND": "0",
}


@dataclass(frozen=True)
class Outcome:
    rooms: int
    moved: int
    """How many rooms live on the ninth gateway now, whole."""
    reconnects: int
    left: int
    """How many reports of leaving members the clients received."""


def add_the_ninth(directory: Path) -> Outcome:
    """Run it in `directory`. Raises Failed if members do not arrive at their homes in time."""
    nats = nats_server(directory)
    with ExitStack() as opened:
        opened.enter_context(running(nats))
        for name in ("provisioner", "presence"):
            opened.enter_context(running(service(name, directory, nats.url)))
        gateways = [service("gateway", directory, nats.url, **_SETTINGS) for _ in range(_GATEWAYS)]
        opened.enter_context(all_running(*gateways[:-1]))
        servers = [haproxy.Server(_port(each.url), _port(each.admin_url)) for each in gateways]
        proxy = opened.enter_context(haproxy.running(directory, servers, absent=1))
        try:
            return asyncio.run(_add(gateways, f"ws://127.0.0.1:{proxy.port}/ws", opened))
        except AssertionError as error:
            raise Failed(f"the ninth gateway: {error}") from error


async def _add(gateways: list[ServiceProcess], url: str, opened: ExitStack) -> Outcome:
    rooms = [str(uuid4()) for _ in range(_ROOMS)]
    visitors = [Visitor([url], room, by_hint=True) for room in rooms for _ in range(_MEMBERS)]
    async with visiting(visitors):
        await _meet(gateways[:-1], rooms)
        before = reconnects(visitors)
        await asyncio.to_thread(opened.enter_context, running(gateways[-1]))
        homes = await _meet(gateways, rooms)
        await all_in(visitors)
        await asyncio.sleep(_GRACE_SECONDS)
        left = sum(visit.client.types().count("UserLeft") for visitor in visitors for visit in visitor.visits)
        return Outcome(_ROOMS, homes[len(gateways) - 1], reconnects(visitors) - before, left)


async def _meet(gateways: list[ServiceProcess], rooms: list[str]) -> Counter[int]:
    """Wait until all members are on the gateways that the ring names. Returns the number of rooms of each gateway."""
    ring = Ring(key_of("127.0.0.1", _port(gateway.url)) for gateway in gateways)
    homes = Counter(ring.gateway(place_of(room)) for room in rooms)

    def met() -> bool:
        return all(
            gateway.metric("studyroom_gateway_rooms") == homes[index]
            and gateway.metric("studyroom_gateway_room_connections") == homes[index] * _MEMBERS
            for index, gateway in enumerate(gateways)
        )

    await eventually(lambda: asyncio.to_thread(met), "members are at their homes", _MOVE_SECONDS)
    return homes


def _port(url: str) -> int:
    return int(url.removesuffix("/ws").rpartition(":")[2])
