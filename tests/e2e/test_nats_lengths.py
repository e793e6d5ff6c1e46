"""A NATS that takes messages of 16 KB only: what is longer goes in several, or its author is told why it does not."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.client import clients
from tests.support.configured import Configured
from tests.support.processes import ServiceProcess, running, service
from tests.support.waiting import eventually, http_get

MAX_PAYLOAD = "max_payload: 16000"
MANY = 270
"""More connections than fit into one announcement, and far more members than into one roster."""
FITTING = {"STUDYROOM_GATEWAY_CHAT_MAX_CHARS": "2000", "STUDYROOM_GATEWAY_ADDRESS_CONNECTIONS_MAX": "0"}


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    made = Configured(tmp_path_factory.mktemp("nats"))
    made.begin(MAX_PAYLOAD)
    yield made
    made.server.stop()


@pytest.fixture(scope="module")
def gateways(configured: Configured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServiceProcess]]:
    directory, url = tmp_path_factory.mktemp("services"), configured.server.url
    with ExitStack() as opened:
        for name in ("provisioner", "presence"):
            opened.enter_context(running(service(name, directory, url)))
        yield [opened.enter_context(running(service("gateway", directory, url, **FITTING))) for _ in range(2)]


async def test_a_large_room_is_told_whole_through_joins_cursors_and_a_restart_of_nats(
    configured: Configured, gateways: list[ServiceProcess], room: str
):
    here, there = gateways
    async with clients(there.url) as (watcher,), clients(*[here.url] * MANY) as many:
        await watcher.join(room)
        await asyncio.gather(*(client.join(room) for client in many))
        await eventually(lambda: len(watcher.told("UserJoined")) == MANY, "the watcher is told of all")
        for number, client in enumerate(many):
            await client.send("CursorMove", {"x": number, "y": number})

        def moved() -> int:
            return len({update["user_id"] for update in watcher.told("CursorUpdate")})

        await eventually(lambda: moved() == MANY, "and of all cursors")

        resyncs = here.metric("studyroom_gateway_resyncs_total")
        await asyncio.to_thread(configured.restart, MAX_PAYLOAD)
        await eventually(lambda: here.metric("studyroom_gateway_resyncs_total") > resyncs, "NATS is back")
        await eventually(
            lambda: all(http_get(f"{one.admin_url}/readyz")[0] == 200 for one in gateways), "all are ready"
        )
        async with clients(there.url) as (newcomer,):
            users = (await newcomer.join(room))["users"]
            assert len(users) == MANY + 2
        assert not watcher.told("UserLeft")
        assert "too long" not in here.output() + there.output()
        assert not [line for line in here.output().splitlines() if "failed, trying again" in line and "resync" in line]


async def test_chat_that_nats_does_not_take_is_refused_by_its_id_and_the_gateway_says_what_to_change(
    configured: Configured, gateways: list[ServiceProcess], room: str, tmp_path_factory: pytest.TempPathFactory
):
    verbose = service("gateway", tmp_path_factory.mktemp("verbose"), configured.server.url)
    verbose.start()
    try:
        await eventually(lambda: "max_payload" in http_get(f"{verbose.admin_url}/readyz")[1], "why it is not ready")
        reasons = http_get(f"{verbose.admin_url}/readyz")[1]
        assert "STUDYROOM_GATEWAY_CHAT_MAX_CHARS=4000 characters may take 25500 bytes" in reasons
        async with clients(verbose.url) as (author,):
            await author.join(room)
            identity = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
            await author.chat("x" + "\x01" * 3999, id=identity)
            assert await author.error() == "chat_too_long"
            (refusal,) = author.told("Error")
            assert refusal["id"] == identity
            await author.chat("short enough")
            await author.expect("Chat")
    finally:
        verbose.stop()
