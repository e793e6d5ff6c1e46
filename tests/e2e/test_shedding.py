"""Gateways that are full, and gateways that have far more clients than the others."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import websockets

from studyroom.shared.contract.close_codes import parse_reconnect_hint
from tests.support.client import Client, clients
from tests.support.processes import NatsServer, ServiceProcess, running, service
from tests.support.waiting import eventually

Start = Callable[..., ServiceProcess]


@pytest.fixture
def start(own_nats: NatsServer, tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway beside a provisioner and presence."""
    with ExitStack() as opened:
        for name in ("provisioner", "presence"):
            opened.enter_context(running(service(name, tmp_path, own_nats.url)))

        def gateway(**settings: str) -> ServiceProcess:
            return opened.enter_context(running(service("gateway", tmp_path, own_nats.url, **settings)))

        yield gateway


async def test_a_full_gateway_refuses_with_the_time_to_come_back(start: Start):
    gateway = start(STUDYROOM_GATEWAY_CONNECTIONS_MAX="2")
    async with clients(gateway.url, gateway.url) as (ann, _):
        with pytest.raises(websockets.InvalidStatus) as caught:
            await Client.connect(gateway.url)
        refused = caught.value.response
        assert refused.status_code == 503
        assert json.loads(refused.body)["code"] == "too_many_connections"
        assert 1 <= int(refused.headers["Retry-After"]) <= 10
        await ann.settle()  # members notice nothing
        await ann.close()
        async with clients(gateway.url) as (late,):
            await late.settle()
    sample = 'studyroom_gateway_handshakes_refused_total{code="too_many_connections"}'
    assert await asyncio.to_thread(gateway.metric, sample) == 1


async def test_a_gateway_far_above_the_mean_asks_some_to_go_and_they_come_back_to_an_emptier_gateway(
    start: Start, room: str
):
    settings = {"STUDYROOM_GATEWAY_SHED_PER_SECOND": "5", "STUDYROOM_GATEWAY_RECONNECT_SPREAD_MS": "200"}
    full = start(**settings)
    async with clients(*[full.url] * 40) as crowd:
        for client in crowd:
            await client.join(room)
        empty = start(**settings)
        # The mean is 20 and 30 are tolerated.
        await eventually(
            lambda: sum(client.close_code is not None for client in crowd) >= 10, "ten are asked to go", 30
        )
        asked = [client for client in crowd if client.close_code is not None]
        assert len(asked) == 10
        assert {client.close_code for client in asked} == {1012}
        assert all(parse_reconnect_hint(client.close_reason) is not None for client in asked)
        async with clients(*[empty.url] * len(asked)) as back:
            for client in back:
                await client.join(room)
            # Two announcements and more: nobody else is asked.
            await asyncio.sleep(5)
            assert sum(client.close_code is not None for client in crowd) == 10
            assert await asyncio.to_thread(full.metric, "studyroom_gateway_shed_total") == 10
            assert await asyncio.to_thread(empty.metric, "studyroom_gateway_shed_total") == 0
