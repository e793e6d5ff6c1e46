"""A rolling restart of everything under clients that talk and resume: nobody leaves, no message is lost or doubled."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.faults.test_lost_connections import SECRET, System, running, told
from tests.support.presence import connected, stored_chat, users_in
from tests.support.processes import NatsServer
from tests.support.visitor import Visitor, chat_violations, has_read
from tests.support.waiting import eventually

CLIENTS = int(os.environ.get("STUDYROOM_TEST_CLIENTS", "200"))
ROOMS = 10
GRACE_SECONDS = 5
"""The default."""


@pytest.fixture
def system(own_nats: NatsServer, tmp_path: Path) -> Iterator[System]:
    yield from running(own_nats, tmp_path, GRACE_SECONDS)


@pytest.mark.timeout(300)
async def test_a_rolling_restart_makes_nobody_leave_and_loses_and_doubles_no_chat(system: System):
    rooms = [str(uuid4()) for _ in range(ROOMS)]
    urls = [gateway.url for gateway in system.gateways]
    visitors = [Visitor(urls, rooms[index % ROOMS], SECRET) for index in range(CLIENTS)]
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
            assert told(visitor.visits[-1].client) == truth[visitor.room]
            visitor.quiet = True
        # So long a place is kept: whoever was lost on the way would leave by then.
        await asyncio.sleep(GRACE_SECONDS + 1)
        await eventually(lambda: not any(visitor.unanswered for visitor in visitors), "all chat is answered", 60)
        async with connected(system.nats.url) as bus:
            stored = await stored_chat(bus)
            for room in rooms:
                assert await users_in(bus, room) == truth[room]
        await eventually(lambda: all(has_read(visitor, stored) for visitor in visitors), "everyone has read all", 60)
        leaves = [visit.client.types().count("UserLeft") for visitor in visitors for visit in visitor.visits]
    finally:
        await asyncio.gather(*(visitor.leave() for visitor in visitors if visitor.visits))
        await asyncio.gather(*visits)
    reconnects = sum(len(visitor.visits) - 1 for visitor in visitors)
    wrong = chat_violations(visitors, stored)
    said = sum(len(visitor.said) for visitor in visitors)
    print(
        f"{CLIENTS} clients, {reconnects} reconnects, {sum(leaves)} told as left; {said} messages said, "
        f"{sum(map(len, stored.values()))} stored, {len(wrong)} lost, doubled or out of order"
    )
    assert reconnects >= CLIENTS
    assert sum(leaves) == 0
    assert wrong == []
