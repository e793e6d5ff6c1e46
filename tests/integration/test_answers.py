"""NATS lets presence answer requests for a while, on the same connection (deploy/nats/accounts.conf)."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import nats
import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from prometheus_client import CollectorRegistry

from studyroom.presence.request_ages import ANSWER_SECONDS, Arrival, Pings, RequestAges
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings
from studyroom.shared.contract import subjects
from tests.support.accounts import options_of, user_of
from tests.support.processes import NatsServer, ServiceProcess, all_running, deployed_nats_server, running, service
from tests.support.proxy import Link, Network
from tests.support.waiting import eventually

WINDOW_SECONDS = 10
"""`allow_responses` of presence."""
QUESTION = b'{"shard":7,"limit":10}'
LATE = 'studyroom_presence_requests_refused_total{outcome="late"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running(deployed_nats_server(tmp_path_factory.mktemp("answers"))) as ready:
        yield ready


@pytest.fixture(scope="module")
def replica(server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    directory = tmp_path_factory.mktemp("services")
    names = ("provisioner", "presence")
    processes = [service(name, directory, server.url, **user_of(name)) for name in names]
    with all_running(*processes):
        yield processes[-1]


@pytest.fixture
async def gateway(server: NatsServer) -> AsyncIterator[Nats]:
    connection = await nats.connect(server.url, **options_of("gateway"))
    yield connection
    await connection.close()


@pytest.fixture
def link(server: NatsServer) -> Iterator[Link]:
    network = Network()
    yield network.link(int(server.url.rsplit(":", 1)[1]))
    network.close()


async def test_a_replica_that_was_frozen_for_long_sends_nothing_that_nats_would_refuse(
    replica: ServiceProcess, gateway: Nats
):
    replica.signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    inbox = gateway.new_inbox()
    received: list[bytes] = []

    async def receive(message: Msg) -> None:
        received.append(message.data)

    await gateway.subscribe(inbox, cb=receive)
    for _ in range(20):
        await gateway.publish(subjects.presence_rooms(7), QUESTION, reply=inbox)
    await gateway.flush()
    await asyncio.sleep(frozen_at + WINDOW_SECONDS + 0.5 - time.monotonic())
    replica.signal(signal.SIGCONT)

    async def answers() -> bool:
        with suppress(NatsTimeout):  # it may have come too early: a gateway asks again
            answer = await gateway.request(subjects.presence_rooms(7), QUESTION, timeout=0.5)
            return b'"outcome":"ok"' in answer.data
        return False

    await eventually(answers, "it answers new requests")
    refusals = [line for line in replica.output().splitlines() if "NATS refused an answer" in line]
    assert (received, refusals) == ([], [])
    assert replica.metric(LATE) >= 20


async def test_a_request_of_an_earlier_connection_cannot_be_answered_and_is_not(link: Link, gateway: Nats):
    registry = CollectorRegistry()
    settings = NatsSettings.model_validate(
        {"url": f"nats://127.0.0.1:{link.port}", "user": "presence", "password": "secret-of-presence"}
    )
    bus = Bus(settings, BusMetrics(registry), name="presence")
    await bus.connect()
    request_ages = RequestAges(time.monotonic())
    pinging = asyncio.create_task(Pings(bus, request_ages).keep())
    asked: list[tuple[str, Arrival]] = []
    await bus.subscribe(
        subjects.presence_rooms(3),
        lambda message: asked.append((message.reply, request_ages.arrival())),
        queue="presence",
    )
    back = asyncio.Event()

    async def reconnected() -> None:
        back.set()

    bus.on_reconnected(reconnected)

    async def asked_more(count: int) -> bool:
        await gateway.publish(subjects.presence_rooms(3), QUESTION, reply=gateway.new_inbox())
        return len(asked) > count

    try:
        await eventually(lambda: asked_more(0), "asked before")
        link.reset()
        await asyncio.wait_for(back.wait(), 10)
        await bus.flush()
        before = len(asked)
        await eventually(lambda: asked_more(before), "asked after")
        questions, now = [asked[0], asked[-1]], time.monotonic()
        assert [request_ages.is_within(ANSWER_SECONDS, arrival, now) for _, arrival in questions] == [False, True]

        def refused() -> float | None:
            return registry.get_sample_value("studyroom_nats_errors_total", {"kind": "ServerError"})

        bus.publish(questions[0][0], b"an answer")
        await eventually(lambda: refused() == 1, "NATS refuses the answer to the first")
        bus.publish(questions[1][0], b"an answer")
        await bus.flush()
        assert refused() == 1, "and takes the other"
        assert registry.get_sample_value("studyroom_nats_refusals_total") == 0, "it is nothing to wake anybody for"
    finally:
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
        await bus.close()


async def test_an_answer_under_way_while_nats_reads_its_configuration_again_is_refused_and_the_next_is_taken(
    server: NatsServer, replica: ServiceProcess, gateway: Nats
):
    registry = CollectorRegistry()
    settings = NatsSettings.model_validate({"url": server.url, "user": "presence", "password": "secret-of-presence"})
    bus = Bus(settings, BusMetrics(registry), name="presence")
    await bus.connect()
    asked: list[str] = []
    await bus.subscribe(subjects.presence_rooms(3), lambda message: asked.append(message.reply), queue="presence")

    async def asked_more(count: int) -> bool:
        await gateway.publish(subjects.presence_rooms(3), QUESTION, reply=gateway.new_inbox())
        return len(asked) > count

    await eventually(lambda: asked_more(0), "asked")
    reloaded = server.output().count("Reloaded server configuration")
    accounts = server.log.parent / "nats" / "accounts.conf"
    accounts.write_text(accounts.read_text().replace('"presence.recall"', '"presence.recall", "more.*"', 1))
    server.signal(signal.SIGHUP)
    await eventually(
        lambda: server.output().count("Reloaded server configuration") > reloaded, "the configuration is read again"
    )

    def refused() -> float | None:
        return registry.get_sample_value("studyroom_nats_errors_total", {"kind": "ServerError"})

    bus.publish(asked[0], b"an answer")
    await eventually(lambda: refused() == 1, "NATS has forgotten the requester")
    before = len(asked)
    await eventually(lambda: asked_more(before), "asked again")
    bus.publish(asked[-1], b"an answer")
    await bus.flush()
    assert refused() == 1
    assert registry.get_sample_value("studyroom_nats_refusals_total") == 0
    assert "NATS does not allow this" not in replica.output()
    await bus.close()
