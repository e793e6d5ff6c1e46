"""Clients that read too slowly, move too fast or chat too much: nobody else notices, and nothing essential is lost."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websockets

from tests.support.client import Client, clients
from tests.support.frames import frame_bytes
from tests.support.processes import EmbeddedStack, NatsServer, ServiceProcess, all_running, service
from tests.support.waiting import eventually

SKIPPED = 'studyroom_gateway_dropped_total{lane="ephemeral",reason="slow_consumer"}'
CHAT_CHARS = 3900
PING = 9


@contextmanager
def system(nats: NatsServer, directory: Path, **environment: str) -> Iterator[ServiceProcess]:
    """A system with one gateway, which has these variables."""
    process = service("gateway", directory, nats.url, **environment)
    with all_running(*(service(name, directory, nats.url) for name in ("provisioner", "presence")), process):
        yield process


@asynccontextmanager
async def gateway(nats: NatsServer, directory: Path, **settings: str) -> AsyncIterator[ServiceProcess]:
    """A system with one gateway that has these settings, and no bound on a client's chat."""
    generous = {"MESSAGES_PER_SECOND": "100000", "BYTES_PER_SECOND": "100000000", "WRITE_BUFFER_MAX_BYTES": "67108864"}
    environment = {f"STUDYROOM_GATEWAY_{name}": value for name, value in {**generous, **settings}.items()}
    with system(nats, directory, **environment) as process:
        yield process


@pytest.fixture
def limits(own_nats: NatsServer, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A gateway whose clients may send 20 messages a second."""
    settings = {"STUDYROOM_GATEWAY_MESSAGES_PER_SECOND": "20", "STUDYROOM_GATEWAY_FLOOD_SECONDS": "4"}
    with system(own_nats, tmp_path, **settings) as process:
        yield process


async def move(client: Client, x: float) -> None:
    await client.socket.send(f'{{"type":"CursorMove","payload":{{"x":{x},"y":0,"element_id":null}}}}')


def cursors(client: Client) -> list[float]:
    return [update["x"] for update in client.payloads("CursorUpdate")]


def sees(client: Client, x: float) -> bool:
    return cursors(client)[-1:] == [x]


def newest_cursors(client: Client) -> set[float]:
    return set({update["user_id"]: update["x"] for update in client.payloads("CursorUpdate")}.values())


def shows(client: Client, newest: set[float]) -> bool:
    return newest_cursors(client) == newest


def chats(client: Client) -> list[str]:
    return [line["content"] for line in client.payloads("Chat")]


def has_received(client: Client, count: int) -> bool:
    return len(chats(client)) == count


async def send_too_much(deaf: Client, talker: Client) -> list[str]:
    """Send so much chat that the unread part of the deaf client piles up in the gateway. Returns the contents.

    The talker reads its own chat before it goes on: on a busy machine it would be slow itself."""
    deaf.socket.transport.pause_reading()
    sent = [f"{number:05d}".ljust(CHAT_CHARS, ".") for number in range(3000)]
    for number, content in enumerate(sent, 1):
        await talker.chat(content)
        if number % 100 == 0:
            await eventually(partial(has_received, talker, number), "the chat is stored")
    return sent


async def congest(deaf: Client, talker: Client, process: ServiceProcess) -> list[str]:
    """The same, until the deaf client is known to go without cursors."""
    sent = await send_too_much(deaf, talker)
    await move(talker, 0)
    await eventually(lambda: process.metric(SKIPPED) > 0, "the deaf client goes without cursors")
    return sent


async def test_a_slow_reader_misses_cursors_but_no_chat_and_then_gets_the_newest(
    own_nats: NatsServer, tmp_path: Path, room: str
):
    async with gateway(own_nats, tmp_path) as process, clients(*[process.url] * 3) as (deaf, talker, witness):
        for client in (deaf, talker, witness):
            await client.join(room)
        sent = await congest(deaf, talker, process)
        for number in range(1, 40):
            await move(talker, number)
            await eventually(partial(sees, witness, number), "the witness sees each move")
        await talker.send("Typing", {"is_typing": True})
        await witness.expect("TypingStatus")

        deaf.socket.transport.resume_reading()
        await eventually(lambda: cursors(deaf)[-1:] == [39], "the newest cursor comes")
        await eventually(lambda: "TypingStatus" in deaf.types(), "and typing notices")
        await talker.chat("and on")
        await eventually(lambda: chats(deaf)[-1:] == ["and on"], "everything goes on")

        assert chats(deaf) == chats(witness) == [*sent, "and on"]
        assert cursors(deaf) in ([39], [0, 39])
        assert cursors(witness) == list(range(40))


async def test_a_slow_reader_gets_each_event_and_the_newest_of_each_key_when_it_has_caught_up(
    own_nats: NatsServer, tmp_path: Path, room: str
):
    async with (
        gateway(own_nats, tmp_path, BROADCASTS_PER_SECOND="1000") as process,
        clients(*[process.url] * 4) as (deaf, talker, witness, leaver),
    ):
        for client in (deaf, talker, witness, leaver):
            await client.join(room)
        await congest(deaf, talker, process)
        await leaver.send("Broadcast", {"event": "bye", "data": 0})
        await witness.expect("Broadcast")
        await leaver.leave()
        await witness.expect("UserLeft")
        for number in range(1, 40):
            key = {"key": "laser"} if number % 2 else {}
            await talker.send("Broadcast", {"event": "moved", "data": number, **key})
            await witness.expect("Broadcast")

        deaf.socket.transport.resume_reading()
        expected = [*range(2, 39, 2), 39]
        await eventually(lambda: len(deaf.payloads("Broadcast")) >= len(expected), "the events come")
        await talker.send("Broadcast", {"event": "moved", "data": 40})
        await eventually(lambda: deaf.payloads("Broadcast")[-1]["data"] == 40, "everything goes on")
        assert [event["data"] for event in deaf.payloads("Broadcast")] == [*expected, 40]
        assert process.metric('studyroom_gateway_conflated_total{type="Broadcast"}') == 19


async def test_a_client_that_stays_slow_is_closed_with_4000_and_the_others_go_on(
    own_nats: NatsServer, tmp_path: Path, room: str
):
    async with (
        gateway(own_nats, tmp_path, SLOW_SECONDS="1", CLOSE_TIMEOUT_SECONDS="1") as process,
        clients(*[process.url] * 3) as (deaf, talker, witness),
    ):
        for client in (deaf, talker, witness):
            await client.join(room)
        sent = await send_too_much(deaf, talker)
        left = await witness.expect("UserLeft", 30)
        assert left["user_id"] == deaf.user
        assert chats(witness) == sent
        closed = 'studyroom_gateway_dropped_total{lane="essential",reason="slow_consumer"}'
        assert process.metric(closed) == 1


async def test_a_client_that_reads_slowly_but_steadily_is_not_closed(own_nats: NatsServer, tmp_path: Path, room: str):
    async with gateway(own_nats, tmp_path, SLOW_SECONDS="1", CLOSE_TIMEOUT_SECONDS="1") as process:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)  # the kernel's buffers do not count
        address = urlsplit(process.url)
        small.connect((address.hostname, address.port))
        async with clients(process.url) as (talker,), clients(process.url, sock=small) as (slow,):
            for client in (talker, slow):
                await client.join(room)

            async def read_a_little() -> None:
                while True:
                    slow.socket.transport.pause_reading()
                    await asyncio.sleep(0.3)  # so slowly
                    slow.socket.transport.resume_reading()
                    for _ in range(3):  # iterations of the loop, in which it reads once or twice
                        await asyncio.sleep(0)

            reading = asyncio.create_task(read_a_little())
            sent = await congest(slow, talker, process)
            await asyncio.sleep(3)  # far longer than without any progress
            reading.cancel()
            slow.socket.transport.resume_reading()
            await eventually(partial(has_received, slow, len(sent)), "it gets everything in the end")


async def test_all_clients_together_may_leave_only_so_much_unread(own_nats: NatsServer, tmp_path: Path, room: str):
    async with (
        gateway(own_nats, tmp_path, WRITE_BUFFERS_MAX_BYTES="1048576", CLOSE_TIMEOUT_SECONDS="1") as process,
        clients(*[process.url] * 3) as (deaf, talker, witness),
    ):
        for client in (deaf, talker, witness):
            await client.join(room)
        await send_too_much(deaf, talker)
        assert (await witness.expect("UserLeft", 30))["user_id"] == deaf.user


async def test_many_moves_become_few_updates_and_the_last_arrives(own_nats: NatsServer, tmp_path: Path, room: str):
    # A gateway with time to spare sends each move at once.
    settings = {"COLLECT_MIN_MS": "20"}
    async with gateway(own_nats, tmp_path, **settings) as process, clients(*[process.url] * 2) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        for number in range(2000):
            await move(ann, number)
        await eventually(lambda: cursors(bob)[-1:] == [1999], "the last move arrives")
        seen = cursors(bob)
        assert seen == sorted(set(seen))
        assert len(seen) < 1000
        assert process.metric('studyroom_gateway_conflated_total{type="CursorUpdate"}') == 2000 - len(seen)
        assert process.metric('studyroom_gateway_messages_received_total{type="CursorMove"}') == 2000


async def test_more_than_a_client_may_send_is_refused_by_name_and_it_may_go_on_later(limits: ServiceProcess, room: str):
    async with clients(limits.url) as (ann,):
        await ann.join(room)
        ids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(60)]
        for number in ids:
            await ann.chat("hello", id=number)
        await eventually(lambda: len(chats(ann)) + len(ann.payloads("Error")) == 60, "every message is answered")
        assert {error["code"] for error in ann.payloads("Error")} == {"rate_limited"}
        stored = [line["id"] for line in ann.payloads("Chat")]
        refused = [error["id"] for error in ann.payloads("Error")]
        assert sorted(stored + refused) == ids
        assert len(stored) >= 39

        async with asyncio.timeout(20):
            while "Pong" not in ann.types():
                await ann.send("Ping")
                await asyncio.sleep(0.2)  # it asks less often than it may


SPELLINGS = {
    "as JSON.stringify": '{"type":"CursorMove","payload":{"x":%d,"y":0,"element_id":null}}',
    "as json.dumps": '{"type": "CursorMove", "payload": {"x": %d, "y": 0}}',
    "the other way round": '{ "payload" : {"element_id":null,"y":0.0,"x":%d.0}, "type" : "CursorMove" }',
    "with escapes": r'{"\u0074ype":"\u0043ursorMove","payload":{"x":%d,"y":0}}',
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
async def test_the_newest_of_too_many_cursors_still_arrives_and_nothing_is_refused(
    limits: ServiceProcess, room: str, spelling: str
):
    async with clients(limits.url, limits.url) as (ann, bob):
        await ann.join(room)
        await bob.join(room)
        for number in range(150):
            await ann.socket.send(spelling % number)
        await eventually(lambda: cursors(bob)[-1:] == [149], "the newest arrives")
        assert ann.payloads("Error") == []
        assert limits.metric("studyroom_gateway_rate_limited_total") >= 100


async def test_a_flood_is_closed_with_4500(limits: ServiceProcess):
    async with clients(limits.url) as (ann,):
        with suppress(websockets.ConnectionClosed):
            while True:
                await ann.socket.send(json.dumps({"type": "Ping"}))
                await asyncio.sleep(0)  # and it reads its messages
        assert await ann.ended() == 4500


async def test_messages_held_back_by_a_stalled_network_do_not_count_as_a_flood(limits: ServiceProcess, room: str):
    async with clients(limits.url, limits.url) as (ann, bob):
        for client in (ann, bob):
            await client.join(room)
        for number in range(300):  # as many as it may send in 15 s
            await move(ann, number)
        await eventually(lambda: sees(bob, 299), "the newest arrives")
        await ann.settle()
        await ann.chat("here again")
        await eventually(lambda: chats(bob) == ["here again"], "everything goes on")


async def test_messages_that_a_stopped_gateway_did_not_read_are_not_too_much(limits: ServiceProcess, room: str):
    async with clients(limits.url) as (ann,):
        await ann.join(room)
        limits.signal(signal.SIGSTOP)
        try:
            for number in range(80):
                await ann.chat(f"{number}")
                await asyncio.sleep(0.055)  # as often as a client may
        finally:
            limits.signal(signal.SIGCONT)
        await eventually(lambda: len(chats(ann)) + len(ann.payloads("Error")) == 80, "every message is answered", 30)
        assert chats(ann) == [f"{number}" for number in range(80)]


async def test_a_client_that_sends_far_too_much_is_read_more_slowly_and_not_taken_for_dead(
    own_nats: NatsServer, tmp_path: Path
):
    settings = {"MESSAGES_PER_SECOND": "5", "FLOOD_SECONDS": "60", "PING_INTERVAL_SECONDS": "1"}
    settings |= {"PING_TIMEOUT_SECONDS": "2"}
    async with gateway(own_nats, tmp_path, **settings) as process, clients(process.url) as (ann,):
        ann.socket.transport.write(frame_bytes(PING, b"") * 130)  # at once: as many as it may send in 26 s
        await asyncio.sleep(0.5)  # they are read by themselves
        await ann.send("Ping")
        began = time.monotonic()
        await ann.expect("Pong")
        assert time.monotonic() - began > 1
        assert ann.close_code is None


async def test_a_user_that_joins_on_another_gateway_sees_where_the_cursors_are(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways) as (ann, bob):
        await ann.join(room)
        await move(ann, 7)
        await ann.settle()
        joined = await bob.join(room)
        (shown,) = [user["cursor"] for user in joined["users"] if user["user_id"] == ann.user]
        await eventually(lambda: shown or cursors(bob), "the cursor is known")
        assert ([shown["x"]] if shown else cursors(bob)[-1:]) == [7]


async def test_cursors_go_both_ways_between_gateways_and_the_last_are_kept(stack: EmbeddedStack, room: str):
    async with clients(*stack.gateways, stack.gateways[0]) as (ann, bob, eve):
        for client in (ann, bob, eve):
            await client.join(room)

        async def wander(client: Client, offset: int) -> None:
            for number in range(100):
                await move(client, offset + number)
                await asyncio.sleep(0.005)  # a hand that moves

        await asyncio.gather(wander(ann, 1000), wander(bob, 2000))
        for client, last in ((eve, {1099.0, 2099.0}), (ann, {2099.0}), (bob, {1099.0})):
            await eventually(partial(shows, client, last), "the last cursors")
