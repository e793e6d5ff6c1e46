import asyncio
import signal
import time
from pathlib import Path

import pytest
import uvloop
from prometheus_client import CollectorRegistry

from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable, Message
from studyroom.shared.chassis.settings import NatsSettings
from tests.integration.conftest import Connect
from tests.support.processes import deployed_nats_server, nats_server, running
from tests.support.waiting import eventually


async def test_messages_are_published_in_the_order_of_the_calls(connect: Connect):
    sender, receiver = await connect(), await connect()
    seen: list[bytes] = []
    await receiver.subscribe("order", lambda message: seen.append(message.data))
    await receiver.flush()
    for number in range(1000):
        sender.publish("order", str(number).encode())
    await eventually(lambda: len(seen) == 1000, "all messages arrive")

    assert seen == [str(number).encode() for number in range(1000)]


async def test_after_a_flush_messages_of_others_are_received(connect: Connect):
    sender, receiver = await connect(), await connect()
    received: list[str] = []
    for number in range(200):
        await receiver.subscribe(f"flushed.{number}", lambda message: received.append(message.subject))
        await receiver.flush()
        sender.publish(f"flushed.{number}", b"")
        await sender.flush()
    await receiver.flush()
    await eventually(lambda: len(received) == 200, "none is missed", 5)


async def test_without_echo_a_connection_does_not_receive_its_own_messages(connect: Connect):
    quiet, other = await connect(no_echo=True), await connect()
    seen: list[bytes] = []
    await quiet.subscribe("echo", lambda message: seen.append(message.data))
    await quiet.flush()
    quiet.publish("echo", b"own")
    await quiet.flush()
    other.publish("echo", b"other")
    await eventually(lambda: seen, "the other's message arrives")

    assert seen == [b"other"]


async def test_a_request_nobody_answers_is_unavailable(bus: Bus):
    with pytest.raises(BusUnavailable):
        await bus.request("nobody.listens", b"", timeout_seconds=0.5)


async def test_a_message_for_no_stream_is_unavailable(bus: Bus):
    with pytest.raises(BusUnavailable):
        await bus.store("no.stream.takes.this", b"", {}, timeout_seconds=0.5)


async def test_a_failing_handler_is_counted_and_the_next_message_is_handled(connect: Connect):
    bus = await connect()
    seen: list[bytes] = []

    def handle(message: Message) -> None:
        if message.data == b"bad":
            raise ValueError("on purpose")
        seen.append(message.data)

    await bus.subscribe("fragile", handle)
    bus.publish("fragile", b"bad")
    bus.publish("fragile", b"good")
    await eventually(lambda: seen, "the good message is handled")

    errors = bus._metrics.errors.labels(kind="ValueError")._value.get()
    assert errors == 1


class Outage:
    """A server of its own that can be stopped and started again at the same port."""

    def __init__(self, directory: Path) -> None:
        self.server = nats_server(directory)

    async def bus(self) -> Bus:
        settings = NatsSettings(url=(self.server.url,), ping_interval_seconds=0.2, reconnect_max_wait_seconds=0.2)
        bus = Bus(settings, BusMetrics(CollectorRegistry()), name="test")
        await bus.connect()
        return bus

    def begin(self) -> None:
        self.server.start()
        self.server.wait_ready()


async def test_subscriptions_survive_a_restart_of_nats_and_reconnects_are_counted(tmp_path: Path):
    outage = Outage(tmp_path)
    outage.begin()
    bus = await outage.bus()
    seen: list[bytes] = []
    sent = asyncio.Event()

    async def reconnected() -> None:
        sent.set()

    bus.on_reconnected(reconnected)
    await bus.subscribe("news", lambda message: seen.append(message.data))
    outage.server.stop()
    await eventually(lambda: not bus.connected, "the loss is noticed")
    outage.begin()
    await asyncio.wait_for(sent.wait(), 20)
    bus.publish("news", b"back")
    await eventually(lambda: seen == [b"back"], "messages arrive again")
    reconnects = bus._metrics.reconnects._value.get()
    await bus.close()
    outage.server.stop()

    assert reconnects == 1


async def test_nothing_published_during_an_outage_is_sent_later(tmp_path: Path):
    outage = Outage(tmp_path)
    outage.begin()
    bus = await outage.bus()
    seen: list[bytes] = []
    failed: list[str] = []
    await bus.subscribe("news", lambda message: seen.append(message.data))
    outage.server.stop()
    await eventually(lambda: not bus.connected, "the loss is noticed")
    bus.publish("news", b"lost", failed=lambda: failed.append("lost"))
    await eventually(lambda: failed, "the caller is notified")
    outage.begin()
    await eventually(lambda: bus.connected, "connected again")
    bus.publish("news", b"new")
    await eventually(lambda: seen, "messages arrive again")
    await bus.close()
    outage.server.stop()

    assert seen == [b"new"]


async def test_a_frozen_server_is_noticed(tmp_path: Path):
    outage = Outage(tmp_path)
    outage.begin()
    bus = await outage.bus()
    outage.server.signal(signal.SIGSTOP)
    await eventually(lambda: not bus.connected, "the frozen server is noticed", 10)
    outage.server.signal(signal.SIGCONT)
    await eventually(lambda: bus.connected, "connected again", 10)
    await bus.close()
    outage.server.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nats-py forgets sockets it tried
async def test_a_frozen_server_with_a_full_socket_is_left_for_another_and_nothing_of_it_is_sent_later(tmp_path: Path):
    servers = [nats_server(tmp_path / name) for name in ("first", "second")]
    for server in servers:
        server.log.parent.mkdir()
        server.start()
    for server in servers:
        server.wait_ready()
    settings = NatsSettings(
        url=tuple(server.url for server in servers), ping_interval_seconds=0.5, reconnect_max_wait_seconds=0.2
    )
    bus = Bus(settings, BusMetrics(CollectorRegistry()), name="test")
    await bus.connect()
    seen: list[bytes] = []
    await bus.subscribe("news", lambda message: seen.append(message.data[:4]))
    await bus.flush()
    current = next(server for server in servers if server.monitor("connz")["num_connections"])
    current.signal(signal.SIGSTOP)
    for _ in range(300):
        bus.publish("news", b"late" + bytes(50_000))
    await eventually(lambda: not bus.connected, "the frozen server is noticed", 10)
    await eventually(lambda: bus.connected, "the other server is taken", 10)
    bus.publish("news", b"new!")
    await eventually(lambda: seen, "messages arrive again")
    began = time.monotonic()
    await bus.close()
    took = time.monotonic() - began
    for server in servers:
        server.signal(signal.SIGCONT)
        server.stop()

    assert seen == [b"new!"]
    assert took < 5


async def test_a_server_that_goes_on_sending_is_not_taken_for_frozen_by_a_client_that_lags(tmp_path: Path):
    """Its answer to a ping waits behind all data that it sent before."""
    outage = Outage(tmp_path)
    outage.begin()
    settings = NatsSettings(url=(outage.server.url,), ping_interval_seconds=0.1)
    slow, sender = Bus(settings, BusMetrics(CollectorRegistry()), name="test"), await outage.bus()
    await slow.connect()
    losses: list[None] = []
    slow.on_disconnected(lambda: losses.append(None))
    seen: list[bytes] = []

    def work(message: Message) -> None:
        seen.append(message.data)
        time.sleep(0.01)  # this takes so long

    await slow.subscribe("news", work)
    await slow.flush()
    for _ in range(200):
        sender.publish("news", bytes(10_000))
    await eventually(lambda: len(seen) == 200 or losses, "all are received")
    received, lost = len(seen), len(losses)
    await slow.close()
    await sender.close()
    outage.server.stop()

    assert (received, lost) == (200, 0)


async def test_a_cancelled_connect_that_nats_refuses_stops_trying_at_any_moment(tmp_path: Path):
    with running(deployed_nats_server(tmp_path)) as server:
        settings = NatsSettings.model_validate({"url": server.url, "user": "operator", "password": "a wrong password"})
        for turns in range(60):
            bus = Bus(settings, BusMetrics(CollectorRegistry()), name="test")
            connecting = asyncio.create_task(bus.connect())
            for _ in range(turns):
                time.sleep(0.002)  # noqa: ASYNC251 - so each iteration of the loop finds the answer of NATS to the last
                await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.wait({connecting}, timeout=10)
            stopped = connecting.done()
            while not connecting.done():
                connecting.cancel()
                await asyncio.wait({connecting}, timeout=0.1)
            await bus.close()

            assert stopped, f"cancelled after {turns} turns"


async def test_a_subscription_given_up_while_nats_is_away_is_gone_when_it_is_back(tmp_path: Path):
    outage = Outage(tmp_path)
    outage.begin()
    bus = await outage.bus()
    outage.server.stop()
    await eventually(lambda: not bus.connected, "the loss is noticed")
    for _ in range(3):
        subscription = await bus.subscribe("given.up", lambda _: None)
        await subscription.unsubscribe()
    await bus.subscribe("kept", lambda _: None)
    outage.begin()
    await eventually(lambda: bus.connected, "NATS is back")
    await bus.flush()
    details = outage.server.monitor("connz?subs=1")["connections"]
    await bus.close()
    outage.server.stop()

    subjects = [subject for connection in details for subject in connection.get("subscriptions_list", [])]
    assert "kept" in subjects
    assert "given.up" not in subjects


async def test_a_connection_closes_while_nats_is_away_although_subscriptions_were_given_up_meanwhile(tmp_path: Path):
    outage = Outage(tmp_path)
    outage.begin()
    bus = await outage.bus()
    subscription = await bus.subscribe("news", lambda _: None)
    outage.server.stop()
    await eventually(lambda: not bus.connected, "the loss is noticed")
    await subscription.unsubscribe()
    await (await bus.subscribe("more.news", lambda _: None)).unsubscribe()
    await bus.close()
    assert bus._client.is_closed


async def test_requests_while_nats_is_away_are_refused_and_leave_nothing_behind(tmp_path: Path):
    outage = Outage(tmp_path)
    outage.begin()
    bus = await outage.bus()
    await bus.api("INFO")
    outage.server.stop()
    await eventually(lambda: not bus.connected, "the loss is noticed")
    for _ in range(100):
        with pytest.raises(BusUnavailable):
            await bus.request("anybody", b"", timeout_seconds=1)
    left = len(bus._client._resp_map)
    await bus.close()

    assert left == 0


def test_a_subscription_is_made_and_given_up_while_nobody_has_noticed_that_the_connection_is_lost(tmp_path: Path):
    async def lose(url: str) -> None:
        bus = Bus(NatsSettings(url=(url,)), BusMetrics(CollectorRegistry()), name="test")
        await bus.connect()
        client = bus._client
        given_up = await bus.subscribe("given.up", lambda _: None)
        assert client._flusher_task is not None
        client._flusher_task.cancel()
        await asyncio.sleep(0)
        client._hang_up()
        assert bus.connected

        await given_up.unsubscribe()
        received: list[Message] = []
        await bus.subscribe("made", received.append)

        await eventually(lambda: bus.connected, "NATS is there again")

        async def is_received() -> bool:
            bus.publish("made", b"")
            return bool(received)

        await eventually(is_received, "the subscription is there too")
        await bus.close()

    server = nats_server(tmp_path)
    with running(server), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(lose(server.url))
