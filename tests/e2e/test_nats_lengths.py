"""A NATS that takes only 16 KB: longer content goes in several messages, or its author learns why it does not."""

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
FITTING = {
    "STUDYROOM_GATEWAY_CHAT_MAX_CHARS": "2000",
    "STUDYROOM_GATEWAY_BROADCAST_MAX_BYTES": "60000",
    "STUDYROOM_GATEWAY_ADDRESS_CONNECTIONS_MAX": "0",
}


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


async def test_a_large_room_is_sent_whole_through_joins_cursors_and_a_restart_of_nats(
    configured: Configured, gateways: list[ServiceProcess], room: str
):
    here, there = gateways
    async with clients(there.url) as (watcher,), clients(*[here.url] * MANY) as many:
        await watcher.join(room)
        await asyncio.gather(*(client.join(room) for client in many))
        await eventually(lambda: len(watcher.payloads("UserJoined")) == MANY, "the watcher receives all joins")
        for number, client in enumerate(many):
            await client.send("CursorMove", {"x": number, "y": number})

        def moved() -> int:
            return len({update["user_id"] for update in watcher.payloads("CursorUpdate")})

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
            assert not watcher.payloads("UserLeft")
        assert "too long" not in here.output() + there.output()
        assert not [line for line in here.output().splitlines() if "failed, trying again" in line and "resync" in line]


async def test_chat_that_nats_does_not_take_is_refused_by_its_id_and_the_log_names_the_setting_to_change(
    configured: Configured, gateways: list[ServiceProcess], room: str, tmp_path_factory: pytest.TempPathFactory
):
    verbose = service("gateway", tmp_path_factory.mktemp("verbose"), configured.server.url)
    verbose.start()
    try:
        await eventually(lambda: "max_payload" in http_get(f"{verbose.admin_url}/readyz")[1], "why it is not ready")
        reasons = http_get(f"{verbose.admin_url}/readyz")[1]
        assert "STUDYROOM_GATEWAY_CHAT_MAX_CHARS=4000 characters may take 26500 bytes" in reasons
        async with clients(verbose.url) as (author,):
            await author.join(room)
            identity = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
            await author.chat("x" + "\x01" * 3999, id=identity)
            assert await author.error() == "chat_too_long"
            (refusal,) = author.payloads("Error")
            assert refusal["id"] == identity
            await author.chat("short enough")
            await author.expect("Chat")
    finally:
        verbose.stop()


async def test_an_event_that_nats_does_not_take_is_refused_and_the_longest_that_it_takes_arrives(
    gateways: list[ServiceProcess], room: str
):
    async with clients(*(gateway.url for gateway in gateways)) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        await ann.send("Broadcast", {"event": "large", "data": "x" * 16_000})
        assert await ann.error() == "broadcast_too_large"
        longest = int(ann.payloads("Error")[0]["message"].rpartition(" ")[2])
        assert longest > 14_000
        for _ in range(3):  # a batch of several is longer than NATS takes
            await ann.send("Broadcast", {"event": "large", "data": "x" * (longest - 2)})
        await eventually(lambda: len(bob.payloads("Broadcast")) == 3, "all of them arrive")
