"""Gateways that stop or shed: clients that know `Moving` are never without a connection, and others go as before."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from studyroom.shared.contract.close_codes import parse_reconnect_hint
from tests.support import backend
from tests.support.balancer import balancer
from tests.support.client import clients
from tests.support.mover import Mover
from tests.support.presence import connected, stored_chat
from tests.support.processes import NatsServer, ServiceProcess, running, service
from tests.support.tokens import SECRET
from tests.support.visitor import Visitor, all_in, settle, visiting
from tests.support.waiting import eventually

Start = Callable[..., ServiceProcess]
WITHIN_MS = 1500
GRACE_SECONDS = 1
SETTINGS = {
    "STUDYROOM_GATEWAY_JWT_SECRET": SECRET,
    "STUDYROOM_GATEWAY_MOVE_WITHIN_MS": str(WITHIN_MS),
    "STUDYROOM_GATEWAY_RECONNECT_SPREAD_MS": "200",
}


@pytest.fixture
def start(own_nats: NatsServer, tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway beside a provisioner and presence."""
    with ExitStack() as opened:
        presence = {"STUDYROOM_PRESENCE_GRACE_SECONDS": str(GRACE_SECONDS)}
        for name in ("provisioner", "presence"):
            opened.enter_context(running(service(name, tmp_path, own_nats.url, **presence)))

        def gateway(**more: str) -> ServiceProcess:
            return opened.enter_context(running(service("gateway", tmp_path, own_nats.url, **(SETTINGS | more))))

        yield gateway


async def test_nobody_who_moves_is_ever_without_a_connection_while_the_gateways_restart_one_after_another(
    start: Start, own_nats: NatsServer
):
    """The balancer does not notice that a gateway stops, so every second attempt to connect fails."""
    gateways = [start(STUDYROOM_GATEWAY_MOVE_WITHIN_MS="15000") for _ in range(2)]
    rooms = [str(uuid4()), str(uuid4())]
    async with balancer(*[gateway.url for gateway in gateways]) as balancing:
        movers = [Mover([balancing.url], room) for room in rooms * 6]
        old = [Visitor([balancing.url], room) for room in rooms]
        async with visiting([*movers, *old]):
            for gateway in gateways:
                gateway.signal(signal.SIGTERM)
                assert await asyncio.to_thread(gateway.wait) == 0
                gateway.start()
                await asyncio.to_thread(gateway.wait_ready)
                await all_in([*movers, *old])
            async with connected(own_nats.url) as bus:
                await settle([*movers, *old], GRACE_SECONDS, partial(stored_chat, bus))
            assert sum(len(mover.gaps) for mover in movers) >= len(movers)
            assert max(gap for mover in movers for gap in mover.gaps) < 0
            codes = {visit.client.close_code for mover in movers for visit in mover.visits[:-1]}
            assert codes == {1000}


async def test_a_stopping_gateway_closes_old_clients_at_once_and_others_when_their_time_to_move_is_over(
    start: Start, room: str
):
    gateway, alone = start(), start(STUDYROOM_GATEWAY_MOVE_WITHIN_MS="0")
    async with clients(gateway.url, *[f"{one.url}?moving=true" for one in (gateway, alone)]) as (
        old,
        knowing,
        timeless,
    ):
        for client in (old, knowing, timeless):
            await client.join(room)
        alone.signal(signal.SIGTERM)
        gateway.signal(signal.SIGTERM)
        for client in (old, timeless):
            assert await client.ended() == 1012
            assert "Moving" not in client.types()
        assert (await knowing.expect("Moving")) == {"within_ms": WITHIN_MS}
        assert knowing.close_code is None
        await knowing.chat("still served")
        assert (await knowing.expect("Chat"))["content"] == "still served"
        assert await knowing.ended() == 1012
        for client in (old, knowing, timeless):
            assert parse_reconnect_hint(client.close_reason) is not None
        assert knowing.closed_at is not None
        asked_at = knowing.times[knowing.types().index("Moving")]
        assert knowing.closed_at - asked_at >= WITHIN_MS / 1000 - 0.1
    assert await asyncio.to_thread(gateway.wait) == 0


async def test_clients_that_were_asked_to_move_count_as_gone_so_a_full_gateway_asks_no_more_of_them(start: Start):
    shedding = {"STUDYROOM_GATEWAY_SHED_PER_SECOND": "5", "STUDYROOM_GATEWAY_MOVE_WITHIN_MS": "4000"}
    full = start(**shedding)
    async with clients(*[f"{full.url}?moving=true"] * 24) as crowd:
        start(**shedding)
        # The mean is 12 and 22 are tolerated.
        await eventually(lambda: sum("Moving" in client.types() for client in crowd) >= 2, "two are asked", 30)
        asked = [client for client in crowd if "Moving" in client.types()]
        assert {await client.ended() for client in asked} == {1012}
        assert sum("Moving" in client.types() for client in crowd) == len(asked) == 2
        assert await asyncio.to_thread(full.metric, "studyroom_gateway_moves_late_total") == 2


async def test_a_user_who_is_removed_between_two_connections_is_in_the_room_with_neither(start: Start, room: str):
    settings = {**backend.SETTINGS, "STUDYROOM_GATEWAY_MOVE_WITHIN_MS": "15000"}
    leaving, staying = start(**settings), start(**settings)
    user = str(uuid4())
    async with clients(staying.url, token=backend.token()) as (watcher,):
        await watcher.join(room)
        async with clients(f"{leaving.url}?moving=true", staying.url, token=backend.token(user)) as (old, new):
            await old.join(room)
            await watcher.expect("UserJoined")
            leaving.signal(signal.SIGTERM)
            await old.expect("Moving")
            await new.join(room)
            assert (await backend.ask(staying.url, "DELETE", f"/rooms/{room}/members/{user}")).status == 204
            for client in (old, new):
                assert await client.error() == "removed"
            assert (await watcher.expect("UserLeft"))["user_id"] == user
            await old.chat("not a member")
            assert await old.error() == "not_in_room"
            await new.join(room)
            assert (await watcher.expect("UserJoined"))["user"]["user_id"] == user
    assert await asyncio.to_thread(leaving.wait) == 0
