"""Upgrades that are not taken: the request is answered without, and the data after it is read for what it is."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.backend import KEY, SETTINGS, ask
from tests.support.frames import frame_bytes
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service

USER = "11111111-2222-4333-8444-555555555555"
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAA\r\n"
"""The header lines that Java's `HttpClient` and `curl --http2` send."""
WEBSOCKET = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
PING = "GET /api/v1/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running(service("gateway", tmp_path_factory.mktemp("upgrades"), stack.nats_url, **SETTINGS)) as process:
        yield process


async def answer_to(gateway: ServiceProcess, *parts: bytes, until: bytes = b"") -> bytes:
    """The answers to `parts`, which are read one by one, up to `until` if it is given."""
    host, port = gateway.url.removeprefix("ws://").removesuffix("/ws").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05 if len(parts) > 1 else 0)  # so that the gateway reads them one by one
        return await asyncio.wait_for(reader.readuntil(until) if until else reader.read(), 10)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def post(room: str, body: bytes, fields: str) -> bytes:
    return (
        f"POST /api/v1/rooms/{room}/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\n{fields}\r\n"
    ).encode() + body


def message(content: str) -> bytes:
    return json.dumps({"user_id": USER, "username": "Ada", "content": content}).encode()


def chunked(body: bytes) -> bytes:
    return b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\nAuthorization: Bearer nobody\r\n\r\n"


async def contents(gateway: ServiceProcess, room: str) -> list[str]:
    answer = await ask(gateway.url, "GET", f"/rooms/{room}/messages")
    return [stored["content"] for stored in answer.body["messages"]]


@pytest.mark.parametrize("pieces", ["together", "head and body", "in the midst of the head"])
@pytest.mark.parametrize("length", ["by length", "in chunks"])
@pytest.mark.parametrize(
    "upgrade", [H2C, "Connection: Upgrade\r\nUpgrade: websocket\r\n" + WEBSOCKET], ids=["h2c", "ws"]
)
async def test_a_body_after_an_upgrade_that_is_not_taken_is_read_as_the_body(
    gateway: ServiceProcess, room: str, upgrade: str, length: str, pieces: str
):
    body = message("GET /api/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
    field = f"Content-Length: {len(body)}\r\n" if length == "by length" else "Transfer-Encoding: chunked\r\n"
    request = post(room, body if length == "by length" else chunked(body), upgrade + field)
    at = {"together": 0, "head and body": request.index(b"\r\n\r\n") + 4, "in the midst of the head": 40}[pieces]
    answer = await answer_to(gateway, *([request[:at]] if at else []), request[at:], PING.encode())

    assert answer.startswith(b"HTTP/1.1 201 "), answer
    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.endswith(b"pong")
    assert len(await contents(gateway, room)) == 1


async def test_requests_that_are_sent_together_are_answered_in_order_with_any_offered_upgrades(
    gateway: ServiceProcess, room: str
):
    requests = b""
    for number in range(10):
        body = message(str(number))
        requests += post(room, body, f"{H2C}Content-Length: {len(body)}\r\n")
    answer = await answer_to(gateway, requests + PING.encode())

    assert answer.count(b"HTTP/1.1 201 ") == 10
    assert answer.endswith(b"pong")
    assert await contents(gateway, room) == [str(number) for number in range(10)]


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [("/api/v1/ping", b"200", b"pong"), ("/health", b"200", b'"ok"'), ("/elsewhere", b"404", b"WebSockets are at /ws")],
)
async def test_a_websocket_that_is_offered_elsewhere_is_ignored(
    gateway: ServiceProcess, path: str, status: bytes, body: bytes
):
    upgrade = "Connection: Upgrade, close\r\nUpgrade: websocket\r\n" + WEBSOCKET
    answer = await answer_to(gateway, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())

    assert answer.split(b" ")[1] == status
    assert body in answer


@pytest.mark.parametrize(
    "fields",
    [
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nConnection: close\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive,\t UPGRADE \r\nUpgrade: \t WebSocket \t\r\n",
        "Connection: ,, upgrade ,\r\nUpgrade: h2c, websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
    ],
    ids=["two lines", "the other line first", "blanks and case", "empty elements, and a choice", "two offers"],
)
async def test_the_fields_of_a_handshake_are_lists(gateway: ServiceProcess, fields: str):
    blanks = WEBSOCKET.replace("\r\n", " \t\r\n")
    answer = await answer_to(
        gateway,
        f"GET /ws HTTP/1.1\r\nHost: localhost \t\r\n{fields}{blanks}Sec-WebSocket-Protocol: other\r\n"
        "Sec-WebSocket-Protocol: ,\tstudyroom \t\r\n\r\n".encode(),
        until=b"\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 101 "), answer
    assert b"Sec-WebSocket-Protocol: studyroom\r\n" in answer


@pytest.mark.parametrize("field", ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"])
async def test_a_handshake_with_a_body_is_refused(gateway: ServiceProcess, field: str):
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n" + WEBSOCKET
    answer = await answer_to(gateway, f"GET /ws HTTP/1.1\r\nHost: localhost\r\n{upgrade}{field}\r\nabc".encode())

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"bad_handshake" in answer


async def test_messages_sent_before_the_answer_to_the_handshake_are_received(gateway: ServiceProcess):
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n" + WEBSOCKET
    ping = frame_bytes(1, b'{"type":"Ping"}')
    answer = await answer_to(
        gateway, f"GET /ws HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode() + ping, until=b'{"type":"Pong"}'
    )

    assert answer.startswith(b"HTTP/1.1 101 ")


UNREADABLE = {
    b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n": b"501",
    b"CONNECT localhost:22 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n": b"501",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": b"400",
    b"nonsense\r\n\r\n": b"400",
    b"POST /health HTTP/1.1\r\nHost: a\r\n" + H2C.encode() + b"Content-Length: x\r\n\r\n": b"400",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n": b"400",
    b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n": b"400",
}


async def test_an_unreadable_request_is_refused_once_and_nothing_after_it_is_looked_at(gateway: ServiceProcess):
    answers = await asyncio.gather(*(answer_to(gateway, request + PING.encode()) for request in UNREADABLE))

    assert [answer.split(b" ")[1] for answer in answers] == list(UNREADABLE.values())
    assert [answer.count(b"HTTP/1.1 ") for answer in answers] == [1] * len(answers)
    assert all(b"invalid_request" in answer for answer in answers)


async def test_a_body_that_breaks_off_in_nonsense_is_refused(gateway: ServiceProcess, room: str):
    request = post(room, b"5\r\nabcdefgh", H2C + "Transfer-Encoding: chunked\r\n")
    answer = await answer_to(gateway, request, PING.encode())

    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"201" not in answer
    assert await contents(gateway, room) == []


async def test_an_answer_that_is_on_its_way_is_not_mixed_with_a_refusal(gateway: ServiceProcess):
    answer = await answer_to(gateway, b"GET /api/v1/rooms HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n")

    assert answer == b"" or (answer.startswith(b"HTTP/1.1 200 ") and b"invalid_request" not in answer)


JAVA = """
import java.net.URI;
import java.net.http.*;

class Post {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int number = 0; number < 3; number++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
                .header("Authorization", "Bearer " + arguments[1])
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(arguments[2].replace("NUMBER", "" + number)))
                .build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="no java here")
async def test_a_backend_in_java_may_post(gateway: ServiceProcess, room: str, tmp_path: Path):
    (tmp_path / "Post.java").write_text(JAVA)
    url = gateway.url.replace("ws://", "http://").removesuffix("/ws") + f"/api/v1/rooms/{room}/messages"
    command = ["java", "-XX:TieredStopAtLevel=1", str(tmp_path / "Post.java"), url, KEY, message("NUMBER").decode()]
    run = await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True, text=True, timeout=60)

    assert run.stdout.split() == ["201"] * 3, run.stdout + run.stderr
    assert await contents(gateway, room) == ["0", "1", "2"]


@pytest.mark.parametrize("path", ["/health", "/api/v1/ping", "/openapi.json", "/", f"/api/v1/rooms/{USER}/roster"])
async def test_head_is_answered_as_get_without_the_body(gateway: ServiceProcess, path: str):
    fields = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = [await answer_to(gateway, f"{method} {path} {fields}".encode()) for method in ("HEAD", "GET")]
    (head, nothing), (got, _) = (answer.split(b"\r\n\r\n", 1) for answer in answers)

    assert [line for line in head.split(b"\r\n") if not line.startswith(b"date:")] == [
        line for line in got.split(b"\r\n") if not line.startswith(b"date:")
    ]
    assert nothing == b""


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("HEAD", "/api/v1/users/x/disconnect", b"POST"),
        ("POST", "/health", b"GET, HEAD"),
        ("PATCH", "/api/v1/bans/x", b"DELETE, GET, HEAD, PUT"),
    ],
)
async def test_another_method_gets_the_allowed_methods(gateway: ServiceProcess, method: str, path: str, allowed: bytes):
    fields = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = await answer_to(gateway, f"{method} {path} {fields}".encode())

    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"allow: %b\r\n" % allowed in answer


def test_the_admin_port_answers_head_and_leads_nowhere_either(gateway: ServiceProcess):
    address = gateway.admin_url.removeprefix("http://")
    for method, path, status in (("HEAD", "/readyz", 200), ("HEAD", "/metrics", 200), ("GET", "/healthz/", 404)):
        connection = HTTPConnection(address, timeout=10)
        connection.request(method, path, headers={"Host": "evil.example"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Location")) == (status, None)
        connection.close()


async def test_no_answer_redirects_to_the_host_header(gateway: ServiceProcess):
    for path in ("/health/", "/api/v1/ping/", "/ws/", "//evil.example/health", "/api/v1/rooms/"):
        answer = await answer_to(
            gateway, f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.startswith(b"HTTP/1.1 404 "), (path, answer)
        assert b"evil.example" not in answer


def test_strangers_cannot_cause_log_lines_at_will(gateway: ServiceProcess):
    """After all that is above."""
    assert gateway.running
    for line in ("Unsupported upgrade", "Invalid HTTP", "Traceback", "request failed"):
        assert line not in gateway.output()
