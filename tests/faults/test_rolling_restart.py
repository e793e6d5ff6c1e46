"""A rolling restart of everything under clients that talk and resume: nobody leaves, no message is lost or doubled."""

import asyncio
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from tests.faults.test_lost_connections import System, running
from tests.support.presence import connected, stored_chat, users_in
from tests.support.processes import NatsServer
from tests.support.visitor import Visitor, all_in, reconnects, settle, visiting

CLIENTS = int(os.environ.get("STUDYROOM_TEST_CLIENTS", "200"))
ROOMS = 10
GRACE_SECONDS = 5
"""The default."""


@pytest.fixture
def system(own_nats: NatsServer, tmp_path: Path) -> Iterator[System]:
    yield from running(own_nats, tmp_path, GRACE_SECONDS)


@pytest.mark.alone
@pytest.mark.timeout(300)
async def test_a_rolling_restart_makes_no_member_leave_and_loses_and_doubles_no_chat(system: System):
    rooms = [str(uuid4()) for _ in range(ROOMS)]
    urls = [gateway.url for gateway in system.gateways]
    visitors = [Visitor(urls, rooms[index % ROOMS]) for index in range(CLIENTS)]
    async with visiting(visitors):
        for process in (*system.gateways, *system.presence):
            process.signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 60) == 0
            process.start()
            await asyncio.to_thread(process.wait_ready)
            await all_in(visitors)
        async with connected(system.nats.url) as bus:
            await settle(visitors, GRACE_SECONDS, partial(stored_chat, bus))
            for room in rooms:
                assert await users_in(bus, room) == {visitor.user for visitor in visitors if visitor.room == room}
    assert reconnects(visitors) >= CLIENTS
