"""The limits of one client at a gateway, and the service that the others get."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import jwt
import pytest
import websockets

from studyroom.shared.chassis.api_keys import entry_of
from tests.support.backend import KEY
from tests.support.client import clients
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.waiting import eventually, http_get

SECRET = "a secret for tests, long enough for HS256"
BODY_MAX_BYTES = 4096


@pytest.fixture(scope="module")
def gateway(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One that gives little."""
    stingy = service(
        "gateway",
        tmp_path_factory.mktemp("stingy"),
        stack.nats_url,
        STUDYROOM_GATEWAY_JWT_SECRET=SECRET,
        STUDYROOM_GATEWAY_API_KEYS=entry_of("backend", KEY),
        STUDYROOM_GATEWAY_USER_CONNECTIONS_MAX="2",
        STUDYROOM_GATEWAY_JOINS_PER_MINUTE="12",
        STUDYROOM_GATEWAY_IDLE_SECONDS="2",
        STUDYROOM_GATEWAY_PING_INTERVAL_SECONDS="1",
        STUDYROOM_GATEWAY_REQUESTS_PER_SECOND="5",
        STUDYROOM_GATEWAY_BODY_MAX_BYTES=str(BODY_MAX_BYTES),
        STUDYROOM_GATEWAY_HANDSHAKE_SECONDS="2",
    )
    with running(stingy):
        yield stingy


def token() -> str:
    return jwt.encode({"sub": str(uuid4()), "exp": int(time.time()) + 60}, SECRET, algorithm="HS256")


async def refusal(url: str, **options: Any) -> tuple[int, str, websockets.Headers]:
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(url, **options)
    response = caught.value.response
    return response.status_code, json.loads(response.body)["code"], response.headers


async def exchange(url: str, *pieces: bytes) -> bytes:
    """All that is answered, until the gateway ends the socket."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        for piece in pieces:
            writer.write(piece)
            with suppress(ConnectionError):
                await writer.drain()
        return await asyncio.wait_for(reader.read(), 15)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


# --- connections ---


async def test_a_user_has_so_many_connections_and_other_users_have_theirs(gateway: ServiceProcess):
    mine = f"{gateway.url}?access_token={token()}"
    async with clients(mine, mine) as (first, _):
        status, code, headers = await refusal(mine)
        assert (status, code) == (429, "too_many_of_user")
        assert 1 <= int(headers["Retry-After"]) <= 10
        assert gateway.metric("studyroom_gateway_user_connections") == 2
        async with clients(gateway.url, token=token()):
            pass
        await first.close()
        async with clients(mine) as (again,):
            await again.settle()
    assert gateway.metric('studyroom_gateway_handshakes_refused_total{code="too_many_of_user"}') == 1


async def test_handshakes_beyond_the_rate_are_asked_to_come_back_and_members_go_on(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
):
    rate = {"STUDYROOM_GATEWAY_HANDSHAKES_PER_SECOND": "2"}
    with running(service("gateway", tmp_path_factory.mktemp("slow"), stack.nats_url, **rate)) as slow:
        async with clients(slow.url) as (ann,):
            answers = await asyncio.gather(*(websockets.connect(slow.url) for _ in range(20)), return_exceptions=True)
            refused = [one.response for one in answers if isinstance(one, websockets.InvalidStatus)]
            assert {one.status_code for one in refused} == {503}
            assert {json.loads(one.body)["code"] for one in refused} == {"too_many_handshakes"}
            assert all(1 <= int(one.headers["Retry-After"]) <= 10 for one in refused)
            assert len(refused) >= 10
            await ann.settle()
            for one in answers:
                if isinstance(one, websockets.ClientConnection):
                    await one.close()

            async def late() -> bool:
                with suppress(websockets.InvalidStatus):
                    async with clients(slow.url) as (client,):
                        await client.settle()
                        return True
                return False

            await eventually(late, "there is room again")


# --- joins ---


async def test_a_client_that_joins_too_often_is_refused_stays_in_its_room_and_may_join_later(gateway: ServiceProcess):
    async with clients(gateway.url) as (ann,):
        rooms = [str(uuid4()) for _ in range(13)]
        for room in rooms[:-1]:
            await ann.join(room)
        await ann.send("JoinRoom", {"room_id": rooms[-1]})
        error = (await ann.next())["payload"]
        assert error["code"] == "rate_limited"
        await ann.chat("still in the last")
        assert (await ann.expect("Chat"))["content"] == "still in the last"

        async def may_join() -> bool:
            await ann.send("JoinRoom", {"room_id": rooms[-1]})
            while (message := await ann.next())["type"] not in {"JoinedRoom", "Error"}:
                pass
            return bool(message["type"] == "JoinedRoom")

        await eventually(may_join, "a twelfth of a minute has passed", 20)
    async with clients(gateway.url) as (again,):  # a new connection starts afresh
        await again.join(rooms[0])


# --- idle ---


async def test_a_silent_client_outside_a_room_is_closed_and_may_come_back(gateway: ServiceProcess, room: str):
    async with clients(gateway.url, gateway.url, gateway.url) as (silent, member, talker):
        await member.join(room)
        while silent.close_code is None:
            await talker.settle()
            with suppress(websockets.ConnectionClosed):
                await silent.socket.ping()  # as its library does, and answers the gateway's
            await asyncio.sleep(0.3)
        assert silent.close_code == 4003
        await member.settle()
        await talker.settle()
        await member.leave()
        assert await member.ended() == 4003
    assert gateway.metric('studyroom_gateway_disconnects_total{code="4003"}') >= 2


# --- plain HTTP ---


async def test_requests_of_one_address_beyond_the_rate_are_refused_and_the_page_is_not(gateway: ServiceProcess):
    address = gateway.url.removesuffix("/ws").replace("ws://", "http://")

    def answers(path: str) -> set[int]:
        return {http_get(f"{address}{path}")[0] for _ in range(30)}

    assert 429 in await asyncio.to_thread(answers, "/api/v1/ping")
    assert await asyncio.to_thread(answers, "/health") == {200}
    await eventually(lambda: http_get(f"{address}/api/v1/ping")[0] == 200, "there is a new second")
    assert gateway.metric('studyroom_gateway_requests_refused_total{code="rate_limited"}') > 0


def post(size: int | str, *, chunked: bool = False) -> bytes:
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    return (
        f"POST /api/v1/rooms/{uuid4()}/messages HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    ).encode()


CHUNK = b"800\r\n" + b" " * 0x800 + b"\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [post(BODY_MAX_BYTES + 1)],
        [post(10_000_000), b" " * 10_000_000],
        [post(2**62)],
        [post("-", chunked=True), CHUNK, CHUNK, CHUNK],
        [post("-", chunked=True), CHUNK * 3000],
    ],
    ids=["announced", "announced and sent", "announced beyond all bounds", "in pieces", "in many pieces"],
)
async def test_a_body_over_the_limit_is_refused(gateway: ServiceProcess, pieces: list[bytes]):
    answer = await exchange(gateway.url, *pieces)

    assert answer.startswith(b"HTTP/1.1 413 Content Too Large\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body_too_large"


async def test_a_refusal_does_not_come_between_the_answers_to_earlier_requests(gateway: ServiceProcess):
    earlier = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = await exchange(
        gateway.url, earlier + post(BODY_MAX_BYTES + 1) + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    )

    assert b"413" not in answer


async def test_a_body_that_does_not_come_is_not_waited_for(gateway: ServiceProcess):
    before = gateway.metric("studyroom_gateway_late_request_heads_total")
    with suppress(ConnectionError):
        assert await exchange(gateway.url, post(100), b'{"user_id": ') == b""
    assert gateway.metric("studyroom_gateway_late_request_heads_total") == before + 1


async def test_a_body_within_the_limit_is_read(gateway: ServiceProcess):
    body = json.dumps({"user_id": str(uuid4()), "username": "Bot", "content": "x" * 3000}).encode()
    whole = await exchange(gateway.url, post(len(body)).replace(b"Host", b"Connection: close\r\nHost") + body)
    assert whole.startswith(b"HTTP/1.1 201 ")
