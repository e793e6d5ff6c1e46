"""Getting in: request heads of any size, tokens, refusals, and sockets that never ask for anything."""

import asyncio
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import jwt
import pytest
import websockets

from studyroom.shared.contract.versions import PROTOCOL_VERSION
from tests.support.client import Client, clients
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.waiting import eventually, http_get

SECRET = "a secret for tests, long enough for HS256"
USER = "11111111-2222-4333-8444-555555555555"
ROOM = "8f14e45f-ceea-467f-a8d1-2f5b3c9e7d10"


def token(**claims: Any) -> str:
    return jwt.encode({"sub": USER, "exp": int(time.time()) + 60, "name": "Ann", **claims}, SECRET, algorithm="HS256")


@pytest.fixture(scope="module")
def strict(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway that wants tokens and has little patience."""
    gateway = service(
        "gateway",
        tmp_path_factory.mktemp("strict"),
        stack.nats_url,
        STUDYROOM_GATEWAY_JWT_SECRET=SECRET,
        STUDYROOM_GATEWAY_HANDSHAKE_SECONDS="1",
        STUDYROOM_GATEWAY_PING_INTERVAL_SECONDS="1",
        STUDYROOM_GATEWAY_PING_TIMEOUT_SECONDS="3",
    )
    gateway.environment["STUDYROOM_GATEWAY_GUESTS"] = "false"
    with running(gateway):
        yield gateway


async def refusal(url: str, **options: Any) -> tuple[int, dict[str, str]]:
    """Status and JSON body of a refused handshake."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(url, **options)
    response = caught.value.response
    return response.status_code, json.loads(response.body)


async def read_response(writer_bytes: bytes, url: str) -> bytes:
    host, port = url.removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(writer_bytes)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


# --- request heads ---


@pytest.mark.parametrize("kilobytes", [1, 2, 4, 8, 15, 16, 17, 24, 32, 48, 60])
async def test_a_request_head_of_up_to_60_kb_is_welcome(stack: EmbeddedStack, room: str, kilobytes: int):
    size = kilobytes * 1024
    headers = {f"X-Filler-{index}": "c" * min(4000, size - index) for index in range(0, size, 4000)}
    async with clients(stack.gateways[0], additional_headers=headers) as (ann,):
        await ann.join(room)


async def test_a_larger_head_is_refused_and_the_gateway_goes_on(stack: EmbeddedStack):
    headers = {f"X-Filler-{index}": "c" * 8000 for index in range(9)}
    status, body = await refusal(stack.gateways[0], additional_headers=headers)

    assert (status, body["code"]) == (431, "headers_too_large")
    async with clients(stack.gateways[0]):
        pass


async def test_a_head_that_comes_in_small_pieces_is_welcome(stack: EmbeddedStack):
    host, port = stack.gateways[0].removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    for start in range(0, len(head), 7):
        writer.write(head[start : start + 7])
        await writer.drain()
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer  # RFC 6455 section 1.3


async def test_a_whole_url_as_target_is_welcome(stack: EmbeddedStack):
    """RFC 9112 section 3.2.2, for proxies that send it."""
    host, port = stack.gateways[0].removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET http://localhost/ws?username=Ada HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 101 ")


# --- why a handshake is refused ---

HOME = "https://app.example.org"


@pytest.fixture(scope="module")
def home(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway for the pages of one other origin."""
    gateway = service(
        "gateway",
        tmp_path_factory.mktemp("home"),
        stack.nats_url,
        STUDYROOM_GATEWAY_JWT_SECRET=SECRET,
        STUDYROOM_GATEWAY_ORIGINS=HOME,
        STUDYROOM_GATEWAY_USER_CONNECTIONS_MAX="1",
    )
    gateway.environment["STUDYROOM_GATEWAY_GUESTS"] = "false"
    with running(gateway):
        yield gateway


def ask(gateway: ServiceProcess, path: str, origin: str | None = None) -> tuple[int, dict[str, Any], str | None]:
    """Status, body, and the origin that may read them."""
    url = gateway.url.replace("ws://", "http://").removesuffix("/ws") + path
    request = Request(url, headers={"Origin": origin} if origin is not None else {})
    try:
        response = urlopen(request, timeout=5)
    except HTTPError as error:
        response = error
    with response:
        return response.status, json.loads(response.read()), response.headers["Access-Control-Allow-Origin"]


@pytest.mark.parametrize(
    ("query", "origin", "code"),
    [
        ("", None, "unauthorized"),
        ("?access_token=nonsense", None, "unauthorized"),
        ("?access_token=", "https://evil.example", "origin_not_allowed"),
        ("?origin=https://evil.example", None, "origin_not_allowed"),
        (f"?origin={HOME}", "https://evil.example", "origin_not_allowed"),
    ],
)
async def test_a_page_can_ask_why_its_handshake_is_refused(
    home: ServiceProcess, query: str, origin: str | None, code: str
):
    status, body, reader = ask(home, f"/api/v1/handshake{query}", origin)
    assert (body["code"], reader) == (code, origin)

    asked_origin = "https://evil.example" if "evil" in query else origin
    assert await refusal(home.url + query, origin=asked_origin) == (status, body)


async def test_a_handshake_that_would_succeed_has_no_problem_and_one_too_many_has(home: ServiceProcess):
    query = f"?access_token={token()}"
    assert ask(home, f"/api/v1/handshake{query}", HOME) == (200, {"status": "ok"}, HOME)
    async with clients(home.url + query):
        status, body, _ = ask(home, f"/api/v1/handshake{query}")
        assert (status, body["code"]) == (429, "too_many_of_user")


@pytest.mark.parametrize(("origin", "reader"), [(HOME, HOME), ("https://evil.example", None), (None, None)])
def test_only_pages_that_may_connect_can_read_answers(home: ServiceProcess, origin: str | None, reader: str | None):
    room = f"/api/v1/rooms/{uuid4()}/messages"
    assert ask(home, f"{room}?access_token={token()}", origin)[0::2] == (200, reader)
    assert ask(home, room, origin)[0::2] == (401, reader)


@pytest.mark.parametrize("hint", ["", "nonsense", "%ff", "8f14e45f-ceea-467f-a8d1-2f5b3c9e7d10"])
async def test_any_room_in_the_address_is_welcome_and_joins_nothing(stack: EmbeddedStack, room: str, hint: str):
    async with clients(f"{stack.gateways[0]}?room={hint}") as (client,):
        assert "room_hints" not in client.welcome
        limits = ("message_max_bytes", "chat_max_chars", "history_on_join")
        assert [client.welcome[limit] for limit in limits] == [65_536, 4000, 50]
        assert client.welcome["protocol"] == PROTOCOL_VERSION
        await client.chat("to nobody")
        assert (await client.expect("Error"))["code"] == "not_in_room"
        await client.join(room)


async def test_a_socket_that_sends_nothing_or_half_a_head_is_ended(strict: ServiceProcess):
    for beginning in (b"", b"GET /ws HTTP/1.1\r\nHost: localhost\r\nX-Slow: "):
        assert await read_response(beginning, strict.url) == b""
    assert strict.metric("studyroom_gateway_late_request_heads_total") >= 2


@pytest.mark.parametrize(("field", "rest"), [(b"", b"\r\n"), (b"Content-Length: 1\r\n", b"x")])
async def test_data_after_an_answer_must_become_a_whole_request_in_time(
    strict: ServiceProcess, field: bytes, rest: bytes
):
    host, port = strict.url.removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + field + b"\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 10)
    writer.write(rest)
    more = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert more == b""


async def test_a_client_that_sends_requests_without_waiting_for_answers_is_ended(stack: EmbeddedStack):
    answer = await read_response(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000, stack.gateways[0])
    assert answer.count(b"HTTP/1.1 404 ") < 100


# --- refusals ---


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         b"426", b"upgrade_required"),
        (b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n", b"400", b"bad_handshake"),
        (b"GET /other HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b"404", b"not_found"),
        (b"GET /ws HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nUpgrade: websocket\r\n"
         b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         b"403", b"origin_not_allowed"),
        (b"GET /ws HTTP/1.0\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b"400", b"bad_handshake"),
        (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b"400", b"bad_handshake"),
        (b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"426", b"upgrade_required"),
        (b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404", b"not_found"),
        (b"nonsense\r\n\r\n", b"400", b"invalid_request"),
        (b"GET http://[ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b"400", b"bad_handshake"),
    ],
    ids=["old version", "bad key", "another path", "another origin", "HTTP/1.0", "no host", "no upgrade",
         "no such page", "not HTTP", "unreadable target"],
)  # fmt: skip
async def test_a_wrong_request_is_refused_with_a_reason(stack: EmbeddedStack, head: bytes, status: bytes, code: bytes):
    answer = await read_response(head, stack.gateways[0])

    assert answer.split(b" ")[1] == status
    assert code in answer
    assert undated(await read_response_to_pieces(head, stack.gateways[0])) == undated(answer)


def undated(answer: bytes) -> bytes:
    """The response without the time at which it was sent."""
    return re.sub(rb"(?im)^date:.*\n", b"", answer)


async def read_response_to_pieces(head: bytes, url: str) -> bytes:
    host, port = url.removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head[:10])
    await asyncio.sleep(0.02)  # so that the gateway probably reads it alone; the answer is the same if not
    writer.write(head[10:])
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return answer


@pytest.mark.parametrize("pause_seconds", [0, 0.02])
async def test_frames_that_come_with_the_handshake_are_read(stack: EmbeddedStack, pause_seconds: float):
    host, port = stack.gateways[0].removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await asyncio.sleep(pause_seconds)
    ping = b'{"type":"Ping"}'
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        + 2
        * (bytes([0x81, 0x80 | len(ping), 0, 0, 0, 0]) + ping)
    )
    for expected in (b"HTTP/1.1 101 ", b'"Welcome"', b'{"type":"Pong"}', b'{"type":"Pong"}'):
        await asyncio.wait_for(reader.readuntil(expected), 10)
    writer.close()
    await writer.wait_closed()


async def test_a_socket_that_closes_before_its_first_byte_leaves_nothing(strict: ServiceProcess):
    before = strict.metric("process_open_fds")
    for _ in range(20):
        assert await read_response_to_nothing(strict.url) == b""
    await eventually(lambda: strict.metric("process_open_fds") <= before, "the sockets are closed")


async def read_response_to_nothing(url: str) -> bytes:
    host, port = url.removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_an_upgrade_in_the_same_breath_as_a_plain_request_is_refused(stack: EmbeddedStack):
    answer = await read_response(
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        stack.gateways[0],
    )

    assert b"101 Switching" not in answer


async def test_a_header_that_never_ends_is_cut_off(stack: EmbeddedStack):
    answer = await read_response(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nX-Endless: " + b"x" * 2_000_000, stack.gateways[0]
    )

    assert b"headers_too_large" in answer or answer == b""


async def test_close_codes_that_clients_make_up_share_one_metric_label(strict: ServiceProcess):
    for code in (4321, 4700, 3999):
        client = await Client.connect(strict.url, token=token())
        await client.socket.close(code)
        await client.ended()
    await eventually(
        lambda: strict.metric('studyroom_gateway_disconnects_total{code="other"}') >= 3, "the closes are counted"
    )

    assert 'code="4321"' not in strict.metrics()


def test_plain_http_answers_beside_the_websocket(stack: EmbeddedStack):
    address = stack.of("gateway")[0]["url"]

    assert http_get(f"{address}/health") == (200, '{"status":"ok"}')
    assert http_get(f"{address}/api/v1/ping") == (200, "pong")


# --- tokens ---


async def test_a_token_names_its_user(strict: ServiceProcess, room: str):
    async with clients(strict.url, token=token(avatar_url="https://a.example/1.png")) as (ann,):
        joined = await ann.join(room)

    assert joined["users"] == [
        {"user_id": USER, "username": "Ann", "avatar_url": "https://a.example/1.png", "cursor": None}
    ]


async def test_a_token_in_the_authorization_header_is_accepted(strict: ServiceProcess):
    headers = {"Authorization": f"Bearer {token(sub='employee-7')}"}
    async with clients(strict.url, strict.url, additional_headers=headers) as (first, second):
        assert first.user == second.user != "employee-7"


@pytest.mark.parametrize(
    "bad",
    [None, "nonsense", token(exp=1), token(exp=None), token(sub=None),
     jwt.encode({"sub": USER, "exp": 9999999999}, "another secret, also long enough for it", algorithm="HS256"),
     jwt.encode({"sub": USER, "exp": 9999999999}, "", algorithm="none")],
    ids=["none at all", "nonsense", "expired", "without exp", "without sub", "another secret", "algorithm none"],
)  # fmt: skip
async def test_a_bad_token_is_refused_at_the_handshake(strict: ServiceProcess, bad: str | None):
    url = strict.url if bad is None else f"{strict.url}?access_token={bad}"
    status, body = await refusal(url)

    assert (status, body["code"]) == (401, "unauthorized")
    assert bad is None or bad not in body["message"]


async def test_a_third_tab_of_the_same_user_announces_nothing(
    stack: EmbeddedStack, strict: ServiceProcess, tmp_path: Path, room: str
):
    tabs = [await Client.connect(strict.url, token=token()) for _ in range(3)]
    async with clients(stack.gateways[0]) as (watcher,):
        await watcher.join(room)
        for tab in tabs:
            await tab.join(room)
        await watcher.expect("UserJoined")
        for tab in tabs[:2]:
            await tab.close()
        await tabs[2].chat("still here")
        await watcher.expect("Chat")
        before = watcher.types()
        await tabs[2].close()
        left = await watcher.expect("UserLeft")

    assert before == ["JoinedRoom", "UserJoined", "Chat"]
    assert left["user_id"] == USER


async def test_cursors_do_not_come_back_to_other_tabs_of_their_user(strict: ServiceProcess, room: str):
    async with clients(strict.url, strict.url, token=token()) as (first, second):
        await first.join(room)
        await second.join(room)
        await first.send("CursorMove", {"x": 1, "y": 1})
        await first.chat("marker")
        await second.expect("Chat")

    assert "CursorUpdate" not in second.types()


async def test_a_new_name_in_a_new_tab_is_sent_as_an_update(strict: ServiceProcess, room: str):
    first = await Client.connect(strict.url, token=token())
    second = await Client.connect(strict.url, token=token(name="Anna"))
    await first.join(room)
    await second.join(room)
    updated = await first.expect("UserUpdated")
    await first.close()
    await second.close()

    assert updated["user"]["username"] == "Anna"
    assert "UserJoined" not in first.types()


async def test_the_name_of_the_tab_that_stays_comes_back_when_the_other_leaves(strict: ServiceProcess, room: str):
    first = await Client.connect(strict.url, token=token(name="Ann"))
    second = await Client.connect(strict.url, token=token(name="Anna"))
    await first.join(room)
    await second.join(room)
    assert (await first.expect("UserUpdated"))["user"]["username"] == "Anna"
    await second.close()
    updated = await first.expect("UserUpdated")
    await first.close()

    assert updated["user"]["username"] == "Ann"
    assert not {"UserJoined", "UserLeft"} & set(first.types())


# --- heartbeats ---


async def test_a_client_that_answers_pings_stays_and_a_dead_client_is_closed(strict: ServiceProcess):
    async with clients(strict.url, token=token()) as (alive,):
        dead = await Client.connect(strict.url, token=token())
        dead.socket.transport.pause_reading()
        before = strict.metric('studyroom_gateway_disconnects_total{code="4001"}')
        await eventually(
            lambda: strict.metric('studyroom_gateway_disconnects_total{code="4001"}') > before,
            "the dead client is closed",
        )
        dead.socket.transport.abort()
        await dead.ended()
        await alive.settle()


# --- a page of another origin asks whether it may send its token ---


def preflight(gateway: ServiceProcess, path: str, origin: str, method: str = "GET") -> tuple[int, Mapping[str, str]]:
    url = gateway.url.replace("ws://", "http://").removesuffix("/ws") + path
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
    try:
        response = urlopen(Request(url, headers={"Origin": origin, **asked}, method="OPTIONS"), timeout=5)
    except HTTPError as error:
        response = error
    with response:
        return response.status, response.headers


@pytest.mark.parametrize("path", ["/api/v1/handshake", f"/api/v1/rooms/{ROOM}/messages", "/api/v1/stream"])
def test_a_page_that_may_connect_may_send_its_token_with_a_get_and_need_not_ask_again(home: ServiceProcess, path: str):
    status, headers = preflight(home, path, HOME)
    assert status == HTTPStatus.NO_CONTENT
    assert headers["Access-Control-Allow-Origin"] == HOME
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Access-Control-Allow-Headers"] == "Authorization"
    assert headers["Access-Control-Max-Age"] == "7200"


@pytest.mark.parametrize(
    ("path", "origin", "method"),
    [
        (f"/api/v1/rooms/{ROOM}/messages", "https://evil.example", "GET"),
        (f"/api/v1/rooms/{ROOM}/messages/1", HOME, "DELETE"),
        ("/health", HOME, "GET"),
    ],
)
def test_no_other_page_and_no_other_request_may_send_a_token(home: ServiceProcess, path: str, origin: str, method: str):
    status, headers = preflight(home, path, origin, method)
    assert status == HTTPStatus.METHOD_NOT_ALLOWED
    assert "Access-Control-Allow-Origin" not in headers


def test_every_page_may_ask_with_its_token_why_it_may_not_connect(home: ServiceProcess):
    status, headers = preflight(home, "/api/v1/handshake", "https://evil.example")
    assert (status, headers["Access-Control-Allow-Origin"]) == (HTTPStatus.NO_CONTENT, "https://evil.example")
