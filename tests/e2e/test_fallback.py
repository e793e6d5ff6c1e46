"""Clients whose network blocks WebSockets have the same rooms over plain HTTP."""

import asyncio
import json
import signal
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.client import Client, clients
from tests.support.fallback import EventStream, Refused, connect, request
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.tokens import SECRET, token_of
from tests.support.waiting import eventually

MESSAGE_MAX_BYTES = 5000
UNREAD_MAX_BYTES = 100_000


@pytest.fixture(scope="module")
def strict(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway that soon loses patience."""
    settings = {
        "PING_INTERVAL_SECONDS": "1", "PING_TIMEOUT_SECONDS": "3", "MESSAGE_MAX_BYTES": str(MESSAGE_MAX_BYTES),
        "WRITE_BUFFER_MAX_BYTES": str(UNREAD_MAX_BYTES), "JWT_SECRET": SECRET, "MESSAGES_PER_SECOND": "100000",
        "BYTES_PER_SECOND": "100000000",
    }  # fmt: skip
    environment = {f"STUDYROOM_GATEWAY_{name}": value for name, value in settings.items()}
    with running(service("gateway", tmp_path_factory.mktemp("strict"), stack.nats_url, **environment)) as process:
        yield process


def stream_of(client: Client) -> EventStream:
    assert isinstance(client.socket, EventStream)
    return client.socket


@pytest.mark.parametrize("up", [0, 1], ids=["the same gateway", "another gateway"])
async def test_a_room_is_the_same_with_and_without_a_websocket(stack: EmbeddedStack, room: str, up: int):
    here, there = stack.gateways
    async with clients(here, there) as (ann, bob):
        eve = await connect(here, up=stack.gateways[up], query="username=Eve")
        for client in (ann, bob, eve):
            await client.join(room)
        assert (await bob.expect("UserJoined"))["user"]["username"] == "Eve"
        for number in range(20):
            await eve.chat(f"eve {number}")
            await bob.chat(f"bob {number}")
        await eve.send("CursorMove", {"x": 1.5, "y": 2.0})
        assert (await ann.expect("CursorUpdate", user_id=eve.user))["x"] == 1.5
        await eventually(lambda: all(len(one.payloads("Chat")) == 40 for one in (ann, bob, eve)), "all have all chat")
        orders = [[line["content"] for line in one.payloads("Chat")] for one in (ann, bob, eve)]
        assert orders[0] == orders[1] == orders[2]
        assert [line for line in orders[0] if line.startswith("eve")] == [f"eve {number}" for number in range(20)]
        await eve.close()
        assert (await ann.expect("UserLeft"))["user_id"] == eve.user


async def test_a_batch_that_is_sent_again_counts_once_and_none_is_left_out(stack: EmbeddedStack, room: str):
    here, there = stack.gateways
    eve = await connect(here, up=there)
    await eve.join(room)
    stream = stream_of(eve)
    lines = [json.dumps({"type": "Chat", "payload": {"content": f"line {number}"}}) for number in range(3)]
    batch, number = "\n".join(lines).encode(), stream.number + 1
    assert (await stream.post(number + 1, batch))[0] == 409
    for _ in range(2):
        assert (await stream.post(number, batch))[0] == 204
    assert (await stream.post(number + 1, b""))[0] == 204
    stream.number = number + 1
    await eve.settle()
    assert [line["content"] for line in eve.payloads("Chat")] == ["line 0", "line 1", "line 2"]
    await eve.close()


async def test_a_broken_stream_resumes_within_the_grace_period_without_a_notice(stack: EmbeddedStack, room: str):
    here, there = stack.gateways
    async with clients(there) as (bob,):
        await bob.join(room)
        eve = await connect(here)
        joined = await eve.join(room)
        await bob.expect("UserJoined")
        await eve.drop()
        await bob.chat("while you were away")
        await bob.expect("Chat")
        again = await connect(there, up=here, query=f"guest_token={eve.welcome['guest_token']}")
        resume = {"since": joined["last_seq"], "epoch": joined["epoch"]}
        await again.send("JoinRoom", {"room_id": room, **resume})
        assert (await again.expect("Chat"))["content"] == "while you were away"
        await bob.settle()
        assert not {"UserLeft", "UserJoined"} & set(bob.types()[bob.types().index("Chat") :])
        await again.close()
        assert (await bob.expect("UserLeft"))["user_id"] == eve.user


async def test_a_silent_client_is_pinged_and_then_closed(strict: ServiceProcess):
    eve = await connect(strict.url)
    stream = stream_of(eve)
    await eventually(lambda: stream.pings > 0, "a ping")
    assert (await stream.post(1, b""))[0] == 204
    assert await eve.ended() == 4001
    assert (await stream.post(2, b""))[0] == 404


async def test_a_client_that_reads_too_slowly_is_closed_and_may_come_back(strict: ServiceProcess, room: str):
    # The kernel buffers some megabytes, so it takes more to be slow.
    async with clients(strict.url) as (bob,):
        eve = await connect(strict.url)
        for client in (bob, eve):
            await client.join(room)
        reading = stream_of(eve).reading
        reading.pause_reading()

        async def has_closed() -> bool:
            for _ in range(200):
                await bob.chat("x" * 3900)
            await bob.settle()
            await stream_of(eve).post(stream_of(eve).number + 1, b"")
            return strict.metric('studyroom_gateway_disconnects_total{code="4000"}') > 0

        await eventually(has_closed, "it is closed", 60)
        reading.resume_reading()
        assert await eve.ended() in {4000, 1006}


@pytest.mark.parametrize(
    ("lines", "code"),
    [(b"\xff\xfe", 1007), (b'{"type": "Chat", "payload": {"content": "%b"}}' % (b"x" * MESSAGE_MAX_BYTES), 1009)],
    ids=["not UTF-8", "too long"],
)
async def test_a_message_that_breaks_the_rules_ends_the_connection_as_over_a_websocket(
    strict: ServiceProcess, lines: bytes, code: int
):
    eve = await connect(strict.url)
    await stream_of(eve).post(1, lines)
    assert await eve.ended() == code


async def test_a_handshake_that_is_refused_is_refused_here_too(strict: ServiceProcess):
    with pytest.raises(Refused, match="unauthorized") as refused:
        await EventStream.open(strict.url, query="access_token=nonsense")
    assert refused.value.status == 401
    status, _, body = await request(strict.url, "GET", "/api/v1/stream", Origin="https://elsewhere.example")
    assert (status, json.loads(body)["code"]) == (403, "origin_not_allowed")
    eve = await connect(strict.url, query=f"access_token={token_of(str(uuid4()), username='Eve')}")
    assert "guest_token" not in eve.welcome
    await eve.close()


async def test_unknown_connections_are_not_found_and_few_are_looked_for(stack: EmbeddedStack):
    here, there = stack.gateways
    eve = await connect(here)
    stream = stream_of(eve)
    await eve.close()
    for url in (here, there):
        assert (await request(url, "POST", f"{stream.target}?number=1", stream.secret.encode()))[0] == 404
    assert (await request(here, "POST", f"{stream.target}?number=0"))[0] == 400
    assert (await request(here, "POST", "/api/v1/stream/x?number=1", b"\xff"))[0] == 404
    assert (await request(here, "HEAD", "/api/v1/stream"))[0] == 405

    async def ask() -> int:
        return (await request(there, "POST", f"{stream.target}?number=1", b"guessed"))[0]

    assert 429 in await asyncio.gather(*(ask() for _ in range(60)))


async def test_a_gateway_that_stops_asks_fallback_clients_to_reconnect(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
):
    soon = {"STUDYROOM_GATEWAY_DRAIN_DELAY_SECONDS": "0"}
    with running(service("gateway", tmp_path_factory.mktemp("stopping"), stack.nats_url, **soon)) as gateway:
        eve = await connect(gateway.url)
        gateway.signal(signal.SIGTERM)
        assert await eve.ended() == 1012


async def test_an_operator_can_turn_the_fallback_off(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory):
    off = {"STUDYROOM_GATEWAY_HTTP_FALLBACK": "false"}
    with running(service("gateway", tmp_path_factory.mktemp("off"), stack.nats_url, **off)) as gateway:
        with pytest.raises(Refused) as refused:
            await EventStream.open(gateway.url)
        assert refused.value.status == 404
