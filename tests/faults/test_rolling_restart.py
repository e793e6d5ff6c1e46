"""A rolling restart of everything under clients that reconnect: nobody is told that anybody has left."""

import asyncio
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import jwt
import pytest
from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException

from tests.faults.test_lost_connections import SECRET, System, running, told
from tests.support.client import Client
from tests.support.presence import connected, users_in
from tests.support.processes import NatsServer
from tests.support.waiting import eventually

CLIENTS = 200
ROOMS = 10
GRACE_SECONDS = 5
"""The default."""
HINT = re.compile(r"reconnect_after_ms=(\d+)")


@pytest.fixture
def system(own_nats: NatsServer, tmp_path: Path) -> Iterator[System]:
    yield from running(own_nats, tmp_path, GRACE_SECONDS)


class Visitor:
    """A client that does as the protocol asks: it comes back when the gateway says so, to one that lets it in."""

    def __init__(self, urls: list[str], room: str) -> None:
        self.user = str(uuid4())
        self.room = room
        self.logs: list[Client] = []
        self._urls = urls
        self._leaving = False

    async def visit(self) -> None:
        while not self._leaving:
            client = await self._connect()
            self.logs.append(client)
            await client.send("JoinRoom", {"room_id": self.room})
            await client.ended(600)
            if client.close_code != 1000:
                await asyncio.sleep(_hint_seconds(client))

    async def _connect(self) -> Client:
        token = jwt.encode({"sub": self.user, "exp": int(time.time()) + 600}, SECRET, algorithm="HS256")
        while True:
            try:
                return await Client.connect(random.choice(self._urls), token=token)
            except (OSError, InvalidHandshake, InvalidMessage, WebSocketException):
                await asyncio.sleep(random.uniform(0.05, 0.2))

    def is_in(self) -> bool:
        return bool(self.logs) and "JoinedRoom" in self.logs[-1].types() and self.logs[-1].close_code is None

    async def leave(self) -> None:
        self._leaving = True
        await self.logs[-1].close()


def _hint_seconds(client: Client) -> float:
    """How long the gateway asked its client to wait."""
    assert client.close_code == 1012, client.close_reason
    hint = HINT.fullmatch(client.close_reason)
    assert hint is not None, client.close_reason
    return int(hint.group(1)) / 1000


@pytest.mark.timeout(240)
async def test_a_rolling_restart_of_all_gateways_and_replicas_makes_nobody_leave(system: System):
    rooms = [str(uuid4()) for _ in range(ROOMS)]
    urls = [gateway.url for gateway in system.gateways]
    visitors = [Visitor(urls, rooms[index % ROOMS]) for index in range(CLIENTS)]
    visits = [asyncio.create_task(visitor.visit()) for visitor in visitors]
    try:
        await eventually(lambda: all(visitor.is_in() for visitor in visitors), "everyone is in", 60)
        for process in (*system.gateways, *system.presence):
            process.signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 60) == 0
            process.start()
            await asyncio.to_thread(process.wait_ready)
            await eventually(lambda: all(visitor.is_in() for visitor in visitors), "everyone is in again", 60)
        truth = {room: {visitor.user for visitor in visitors if visitor.room == room} for room in rooms}
        for visitor in visitors:
            assert told(visitor.logs[-1]) == truth[visitor.room]
        async with connected(system.nats.url) as bus:
            for room in rooms:
                assert await users_in(bus, room) == truth[room]
        # So long a place is kept: whoever was lost on the way would leave by then.
        await asyncio.sleep(GRACE_SECONDS + 1)
        leaves = [client.types().count("UserLeft") for visitor in visitors for client in visitor.logs]
    finally:
        await asyncio.gather(*(visitor.leave() for visitor in visitors if visitor.logs))
        await asyncio.gather(*visits)
    reconnects = sum(len(visitor.logs) - 1 for visitor in visitors)
    print(f"{CLIENTS} clients, {reconnects} reconnects, {sum(leaves)} told as left")
    assert reconnects >= CLIENTS
    assert sum(leaves) == 0
