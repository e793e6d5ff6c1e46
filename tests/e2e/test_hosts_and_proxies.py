"""The names by which a gateway may be reached, and the clients behind a proxy."""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets

from tests.support.client import Client, clients
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.waiting import eventually

NAME = "rooms.example.org"
HERE = f"ws://{NAME}/ws"


@pytest.fixture(scope="module")
def gateway(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Reached by one name, through a proxy on this machine, and with room for two connections of an address."""
    named = service(
        "gateway",
        tmp_path_factory.mktemp("named"),
        stack.nats_url,
        STUDYROOM_GATEWAY_HOSTS=f"{NAME}, [::1]",
        STUDYROOM_GATEWAY_TRUSTED_PROXIES="127.0.0.0/8",
        STUDYROOM_GATEWAY_ADDRESS_CONNECTIONS_MAX="2",
    )
    with running(named):
        yield named


def ask(url: str, path: str, **headers: str) -> tuple[int, bytes]:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def through(gateway: ServiceProcess, *proxies: str) -> dict[str, Any]:
    """Connects as a proxy, with the addresses of its clients. The handshake's address is the name in the request."""
    forwarded = [("X-Forwarded-For", address) for address in proxies]
    port = urlsplit(gateway.url).port
    return {"host": "127.0.0.1", "port": port, "proxy": None, "additional_headers": forwarded}


async def hang_up_during_a_handshake(gateway: ServiceProcess) -> None:
    """With a reset, so that the answer cannot be written."""
    address = urlsplit(gateway.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {NAME}\r\nX-Forwarded-For: 203.0.113.4\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def refusal(url: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(url, **options)
    return caught.value.response.status_code, json.loads(caught.value.response.body)["code"]


# --- names ---


@pytest.mark.parametrize("host", [NAME, f"{NAME.upper()}:8443", f"{NAME}.", "[::1]:80"])
@pytest.mark.parametrize("path", ["/api/v1/ping", "/api/v1/rooms"])
def test_a_gateway_answers_to_its_names(gateway: ServiceProcess, host: str, path: str):
    assert ask(gateway.url, path, Host=host)[0] in {200, 503}


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost", f"{NAME}.evil.example", f"{NAME}, evil", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/v1/ping", "/ws", "//x/health", "/openapi.json"])
def test_a_request_by_another_name_is_misdirected(gateway: ServiceProcess, host: str, path: str):
    status, body = ask(gateway.url, path, Host=host)

    assert (status, json.loads(body)["code"]) == (421, "host_not_allowed")


def test_health_is_reported_under_any_name_for_probes_that_know_none(gateway: ServiceProcess):
    assert ask(gateway.url, "/health", Host="10.1.2.3:8080") == (200, b'{"status":"ok"}')


async def test_a_websocket_by_another_name_is_refused_even_from_a_page_of_that_name(gateway: ServiceProcess):
    before = gateway.metric('studyroom_gateway_handshakes_refused_total{code="host_not_allowed"}')
    rebound = {**through(gateway), "origin": "http://evil.example"}
    assert await refusal("ws://evil.example/ws", **rebound) == (421, "host_not_allowed")
    assert gateway.metric('studyroom_gateway_handshakes_refused_total{code="host_not_allowed"}') == before + 1
    assert gateway.metric('studyroom_gateway_requests_refused_total{code="host_not_allowed"}') > 0


def test_the_embedded_stack_is_reached_as_this_machine_only(stack: EmbeddedStack):
    for host, status in (("localhost:80", 200), ("127.0.0.1", 200), ("[::1]", 200), ("evil.example", 421)):
        assert ask(stack.gateways[0], "/api/v1/ping", Host=host)[0] == status


# --- proxies ---


async def test_clients_behind_a_proxy_are_counted_by_their_own_addresses(gateway: ServiceProcess):
    async with AsyncExitStack() as opened:
        for address in ("203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8:0:1::1"):
            for _ in range(2):
                await opened.enter_async_context(clients(HERE, **through(gateway, address)))
            assert await refusal(HERE, **through(gateway, address)) == (429, "too_many_of_address")
        assert await refusal(HERE, **through(gateway, "2001:db8::2")) == (429, "too_many_of_address")
        assert await refusal(HERE, **through(gateway, "::ffff:203.0.113.1")) == (429, "too_many_of_address")
        assert gateway.metric("studyroom_gateway_address_connections") == 2
    await eventually(lambda: gateway.metric("studyroom_gateway_address_connections") == 0, "all are gone")


async def test_an_address_with_bad_tokens_takes_nobody_elses_handshake(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
):
    settings = {"STUDYROOM_GATEWAY_TRUSTED_PROXIES": "127.0.0.0/8", "STUDYROOM_GATEWAY_HANDSHAKES_PER_SECOND": "20"}
    with running(service("gateway", tmp_path_factory.mktemp("busy"), stack.nats_url, **settings)) as busy:
        bad = {**through(busy, "203.0.113.66"), "open_timeout": 30}
        answers: Counter[int] = Counter()

        async def attack(times: int) -> None:
            for _ in range(times):
                got = await asyncio.gather(*(refusal(f"{HERE}?access_token=bad", **bad) for _ in range(16)))
                answers.update(status for status, _ in got)

        await attack(4)  # more than all may at a moment
        attacking = asyncio.create_task(attack(4))
        for number in range(12):
            async with clients(HERE, **through(busy, f"203.0.113.{number}")):
                pass
        await attacking
    assert set(answers) == {401, 429}


async def test_a_client_that_forges_its_address_counts_as_itself(gateway: ServiceProcess):
    async with (
        clients(HERE, **through(gateway, "198.51.100.1", "203.0.113.3")),
        clients(HERE, **through(gateway, "198.51.100.2, 203.0.113.3, 127.0.0.9")),
    ):
        forged = through(gateway, "198.51.100.3, 127.0.0.1, nonsense", "203.0.113.3", "127.0.0.9")
        assert await refusal(HERE, **forged) == (429, "too_many_of_address")


async def test_without_trusted_proxies_forwarded_addresses_mean_nothing_and_the_log_warns(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
):
    limit = {"STUDYROOM_GATEWAY_ADDRESS_CONNECTIONS_MAX": "2"}
    with running(service("gateway", tmp_path_factory.mktemp("plain"), stack.nats_url, **limit)) as plain:
        async with clients(HERE, HERE, **through(plain, "203.0.113.1")):
            assert await refusal(HERE, **through(plain, "203.0.113.2")) == (429, "too_many_of_address")
        assert plain.output().count("STUDYROOM_GATEWAY_TRUSTED_PROXIES") == 1


async def test_a_client_that_ends_in_the_middle_of_a_handshake_is_not_counted_for_ever(gateway: ServiceProcess):
    for _ in range(10):
        client = await Client.connect(HERE, **through(gateway, "203.0.113.4"))
        client.socket.transport.abort()
        await client.ended()
    for _ in range(50):
        await hang_up_during_a_handshake(gateway)
    async with clients(HERE, **through(gateway, "203.0.113.5")):
        pass  # the gateway has come to all of them
    await eventually(lambda: gateway.metric("studyroom_gateway_address_connections") == 0, "all are gone")
    assert gateway.metric("studyroom_gateway_connections") == 0
    async with clients(HERE, HERE, **through(gateway, "203.0.113.4")):
        assert await refusal(HERE, **through(gateway, "203.0.113.4")) == (429, "too_many_of_address")
