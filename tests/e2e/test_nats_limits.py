"""A refusal of NATS costs only the members that it concerns."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from uuid import uuid4

import pytest

from tests.support.client import Client
from tests.support.configured import Configured
from tests.support.processes import ServiceProcess, running, service
from tests.support.waiting import eventually, http_get

MAX_SUBSCRIPTIONS = 16
LIMITED = f"max_subscriptions: {MAX_SUBSCRIPTIONS}"


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    made = Configured(tmp_path_factory.mktemp("nats"))
    made.begin(LIMITED)
    yield made
    made.server.stop()


@pytest.fixture(scope="module")
def gateway(configured: Configured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    directory = tmp_path_factory.mktemp("services")
    with ExitStack() as opened:
        for name in ("provisioner", "presence", "gateway"):
            settings = {"STUDYROOM_GATEWAY_RECONNECT_SPREAD_MS": "100"} if name == "gateway" else {}
            started = opened.enter_context(running(service(name, directory, configured.server.url, **settings)))
        yield started


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def fill(gateway: ServiceProcess, opened: AsyncExitStack) -> tuple[dict[str, Client], Client]:
    """Members in as many rooms as fit, and a client that wanted one more."""
    inside: dict[str, Client] = {}
    while True:
        room = str(uuid4())
        client = await Client.connect(gateway.url)
        opened.push_async_callback(client.close)
        await client.send("JoinRoom", {"room_id": room})
        await eventually(lambda: {"JoinedRoom", "Error"} & set(client.types()), "an answer")  # noqa: B023 - awaited here
        if "Error" in client.types():
            return inside, client
        inside[room] = client


async def test_a_room_too_many_is_refused_and_everybody_else_stays(gateway: ServiceProcess, opened: AsyncExitStack):
    inside, refused = await fill(gateway, opened)
    assert len(inside) >= 5
    (error,) = refused.payloads("Error")
    assert error["code"] == "presence_unavailable"
    assert "cannot take one more room" in error["message"]
    counted = 'studyroom_nats_server_errors_total{reason="maximum subscriptions exceeded"}'
    assert gateway.metric(counted) == 1
    for client in inside.values():
        await client.chat("still here")
        await client.expect("Chat")
    room, somebody = inside.popitem()
    second = await Client.connect(gateway.url)
    opened.push_async_callback(second.close)
    await second.join(room)  # it is hosted already
    rooms = gateway.metric("studyroom_gateway_rooms")
    await second.close()
    await somebody.close()
    await eventually(lambda: gateway.metric("studyroom_gateway_rooms") < rooms, "the room has ended")
    third = await Client.connect(gateway.url)
    opened.push_async_callback(third.close)
    await third.join(str(uuid4()))
    assert http_get(f"{gateway.admin_url}/readyz")[0] == 200
    assert gateway.metric("studyroom_nats_reconnects_total") == 0


async def test_a_reload_of_the_configuration_costs_no_connection(
    configured: Configured, gateway: ServiceProcess, opened: AsyncExitStack, room: str
):
    client = await Client.connect(gateway.url)
    opened.push_async_callback(client.close)
    await client.join(room)
    configured.reload(LIMITED + "\nauthorization { users: [{ user: other, password: other }] }")
    await eventually(
        lambda: "authorization violation" in http_get(f"{gateway.admin_url}/readyz")[1], "not ready, and why"
    )
    configured.reload(LIMITED)
    await eventually(lambda: http_get(f"{gateway.admin_url}/readyz")[0] == 200, "ready again")
    await client.chat("still here")
    await client.expect("Chat")
    assert gateway.running


async def test_rooms_that_do_not_fit_after_a_restart_of_nats_let_their_members_go_and_the_others_stay(
    configured: Configured, gateway: ServiceProcess, opened: AsyncExitStack
):
    inside, _ = await fill(gateway, opened)
    await asyncio.to_thread(configured.restart, f"max_subscriptions: {MAX_SUBSCRIPTIONS - 2}")

    def gone() -> list[Client]:
        return [client for client in inside.values() if client.close_code is not None]

    await eventually(lambda: len(gone()) == 2, "those of two rooms are asked to go")
    assert [client.close_code for client in gone()] == [1012, 1012]
    await eventually(lambda: http_get(f"{gateway.admin_url}/readyz")[0] == 200, "ready")
    for client in inside.values():
        if client.close_code is None:
            await client.chat("still here")
            await client.expect("Chat")
    assert len(gone()) == 2
