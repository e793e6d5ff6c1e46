"""NATS refuses a subscription, a message or a password. Only the refused part is lost, and only for so long."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, SubscriptionRefused
from studyroom.shared.chassis.settings import NatsSettings
from tests.support.configured import Configured
from tests.support.waiting import eventually


@pytest.fixture
async def bus(configured: Configured) -> AsyncIterator[Callable[..., Bus]]:
    made: list[Bus] = []

    def make(**settings: str) -> Bus:
        own = NatsSettings.model_validate(
            {"url": configured.server.url, "ping_interval_seconds": 0.2, "reconnect_max_wait_seconds": 0.3, **settings}
        )
        made.append(Bus(own, BusMetrics(CollectorRegistry()), name="test"))
        return made[-1]

    yield make
    for each in made:
        await each.close()


def nothing(_: object) -> None:
    """Ignore a message."""


async def receives(bus: Bus, subject: str, *, by: Bus) -> bool:
    received = asyncio.Event()
    try:
        await bus.subscribe(subject, lambda _: received.set())
    except SubscriptionRefused:
        return False
    by.publish(subject, b"")
    await asyncio.wait_for(received.wait(), 5)
    return True


async def test_a_subscription_too_many_is_refused_and_the_others_stay(configured: Configured, bus: Callable[..., Bus]):
    configured.begin("max_subscriptions: 10")
    full, other = bus(), bus()
    await full.connect()
    await other.connect()
    lost: list[None] = []
    full.on_disconnected(lambda: lost.append(None))
    received: list[str] = []
    kept = [await full.subscribe(f"kept.{n}", lambda message: received.append(message.subject)) for n in range(10)]
    refusals = await asyncio.gather(*(full.subscribe(f"more.{n}", nothing) for n in range(5)), return_exceptions=True)
    assert [type(refusal) for refusal in refusals] == [SubscriptionRefused] * 5
    assert "maximum subscriptions exceeded" in str(refusals[0])

    await kept[0].unsubscribe()
    assert await receives(full, "fits.again", by=other)
    for n in range(1, 10):
        other.publish(f"kept.{n}", b"")
    await eventually(lambda: len(received) == 9, "the others are still subscribed to", 5)
    assert not lost


async def test_only_subscriptions_that_do_not_fit_after_a_reconnect_are_refused_and_once(
    configured: Configured, bus: Callable[..., Bus]
):
    configured.begin()
    full, other = bus(), bus()
    await full.connect()
    await other.connect()
    refused: list[int] = []
    received: list[str] = []

    def refusal_of(n: int) -> Callable[[str], None]:
        return lambda _: refused.append(n)

    for n in range(10):
        await full.subscribe(f"room.{n}", lambda message: received.append(message.subject), refused=refusal_of(n))
    reconnects: list[None] = []

    async def reconnected() -> None:
        reconnects.append(None)

    full.on_reconnected(reconnected)
    configured.restart("max_subscriptions: 7")
    await eventually(lambda: refused == [7, 8, 9], "the last ones are refused")
    await eventually(lambda: other.connected, "all are back")
    for n in range(10):
        other.publish(f"room.{n}", b"")
    await eventually(lambda: len(received) == 7, "the others are subscribed to")
    await full.flush()
    assert full.connected
    assert (refused, len(reconnects)) == ([7, 8, 9], 1)


async def test_a_subscription_that_the_process_needs_is_tried_again_and_it_is_not_ready_meanwhile(
    configured: Configured, bus: Callable[..., Bus]
):
    def users(allowed: str) -> str:
        permissions = f'permissions: {{ subscribe: ["_INBOX.>", "{allowed}"] }}'
        return f"authorization {{ users: [{{ user: a, password: b, {permissions} }}] }}"

    configured.begin(users("news"))
    reader = bus(user="a", password="b")
    await reader.connect()
    received: list[bytes] = []
    await reader.subscribe("news", lambda message: received.append(message.data))
    resynced: list[None] = []

    async def reconnected() -> None:
        resynced.append(None)

    reader.on_reconnected(reconnected)
    configured.reload(users("nothing"))
    await eventually(lambda: reader.problems, "the withdrawal is seen")
    assert reader.problems == ["NATS refuses a subscription: permissions violation: news"]
    assert reader.connected

    configured.reload(users("news"))
    await eventually(lambda: resynced and not reader.problems, "it is back, and the missed messages are requested")
    reader.publish("news", b"again")
    await eventually(lambda: received == [b"again"], "it is received again", 5)


async def test_a_message_beyond_the_limit_that_was_lowered_costs_one_reconnect(
    configured: Configured, bus: Callable[..., Bus]
):
    """A server that reads a lower `max_payload` notifies nobody until then."""
    configured.begin()
    sender = bus()
    await sender.connect()
    configured.reload("max_payload: 8K")
    await eventually(lambda: "Reloaded: max_payload" in configured.server.output(), "the limit is in force")
    lost: list[bool] = []
    sender.on_disconnected(lambda: lost.append(True))  # it is made again so soon that polling may miss it
    sender.publish("news", bytes(10_000))
    await eventually(lambda: bool(lost), "NATS ends the connection")
    await eventually(lambda: sender.connected, "it is made again")
    assert sender.max_payload_bytes == 8000
    assert len(lost) == 1
    assert not sender.closed_for_good.is_set()


async def test_a_withdrawn_password_is_reported_and_tried_until_it_is_good_again(
    configured: Configured, bus: Callable[..., Bus]
):
    def users(password: str) -> str:
        return f"authorization {{ users: [{{ user: a, password: {password} }}] }}"

    configured.begin(users("good"))
    mine = bus(user="a", password="good")
    await mine.connect()
    received: list[bytes] = []
    await mine.subscribe("news", lambda message: received.append(message.data))
    for _ in range(2):
        configured.reload(users("other"))
        await eventually(
            lambda: mine.problems == ["not connected to NATS: authorization violation"], "why it is away is known"
        )
        configured.reload(users("good"))
        await eventually(lambda: mine.connected and not mine.problems, "it is back")
    mine.publish("news", b"")
    await eventually(lambda: received, "subscriptions are back")
    errors = mine._metrics.server_errors.labels(reason="authorization violation")._value.get()
    assert errors >= 2
    assert not mine.closed_for_good.is_set()


async def test_a_first_connection_that_is_refused_is_tried_with_growing_waits(
    configured: Configured, bus: Callable[..., Bus]
):
    configured.begin("authorization { users: [{ user: a, password: good }] }")
    mine = bus(user="a", password="wrong", reconnect_max_wait_seconds="5")
    connecting = asyncio.create_task(mine.connect())
    await eventually(lambda: mine.problems == ["not connected to NATS: authorization violation"], "why is known")
    await asyncio.wait({connecting}, timeout=1.5)
    attempts = mine._metrics.server_errors.labels(reason="authorization violation")._value.get()
    connecting.cancel()
    assert attempts < 10, "0.1 s apart there would be 15"


async def test_a_connection_whose_handshake_is_not_answered_is_closed_before_the_next_one(
    bus: Callable[..., Bus], configured: Configured
):
    connections = 0
    unanswered: set[int] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b'INFO {"server_id":"X","version":"2.15.1","max_payload":1048576,"headers":true}\r\n')
        if connections == 1:
            await reader.readuntil(b"PING\r\n")
            writer.write(b"PONG\r\n")
            await reader.readuntil(b"PING\r\n")
        else:
            this = connections
            unanswered.add(this)
            with suppress(ConnectionResetError):
                await reader.read()
            unanswered.remove(this)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", configured.port)
    async with listener:
        mine = bus(connect_timeout_seconds="0.1")
        await mine.connect()
        await eventually(lambda: connections >= 4, "it is tried again and again")
        await eventually(lambda: len(unanswered) <= 1, "those before are closed", 1)
        await mine.close()
        await eventually(lambda: not unanswered, "all are closed")


@pytest.mark.parametrize("words", ["Something New", "Server Shutdown", "Unknown Protocol Operation"])
async def test_after_any_other_error_of_the_server_the_connection_is_made_again(
    bus: Callable[..., Bus], configured: Configured, words: str
):
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b'INFO {"server_id":"X","version":"2.15.1","max_payload":1048576,"headers":true}\r\n')
        while line := await reader.readline():
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
                if connections < 3:
                    writer.write(f"-ERR '{words}'\r\n".encode())
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", configured.port)
    async with listener:
        mine = bus()
        await mine.connect()
        await eventually(lambda: connections == 3 and mine.connected, "it is tried again")
        await mine.flush()
        await mine.close()
