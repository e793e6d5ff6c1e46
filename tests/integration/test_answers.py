"""NATS lets presence answer what it was asked, for a while and on the same connection (deploy/nats/accounts.conf)."""

import asyncio
import signal
import time
from collections.abc import Iterator

import nats
import pytest
from prometheus_client import CollectorRegistry

from presence.answering import Answering, Arrival, Pings
from services.bus import Bus
from services.metrics import BusMetrics
from services.settings import NatsSettings
from shared import subjects
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
def link(server: NatsServer) -> Iterator[Link]:
    network = Network()
    yield network.link(int(server.url.rsplit(":", 1)[1]))
    network.close()


async def test_a_replica_that_was_frozen_for_long_says_nothing_that_nats_would_refuse(
    server: NatsServer, replica: ServiceProcess
):
    gateway = await nats.connect(server.url, **options_of("gateway"))
    replica.signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    inbox = gateway.new_inbox()
    heard: list[bytes] = []

    async def hear(message: nats.aio.msg.Msg) -> None:
        heard.append(message.data)

    await gateway.subscribe(inbox, cb=hear)
    for _ in range(20):
        await gateway.publish(subjects.presence_rooms(7), QUESTION, reply=inbox)
    await gateway.flush()
    await asyncio.sleep(frozen_at + WINDOW_SECONDS + 0.5 - time.monotonic())
    replica.signal(signal.SIGCONT)

    async def answers() -> bool:
        answer = await gateway.request(subjects.presence_rooms(7), QUESTION, timeout=5)
        return b'"outcome":"ok"' in answer.data

    await eventually(answers, "it answers what it is asked now")
    refusals = [line for line in replica.output().splitlines() if "NATS does not allow this" in line]
    assert (heard, refusals) == ([], [])
    assert replica.metric(LATE) == 20
    await gateway.close()


async def test_a_request_of_an_earlier_connection_cannot_be_answered_and_is_not(server: NatsServer, link: Link):
    registry = CollectorRegistry()
    settings = NatsSettings.model_validate(
        {"url": f"nats://127.0.0.1:{link.port}", "user": "presence", "password": "secret-of-presence"}
    )
    bus = Bus(settings, BusMetrics(registry), name="presence")
    await bus.connect()
    gateway = await nats.connect(server.url, **options_of("gateway"))
    answering = Answering(time.monotonic())
    pinging = asyncio.create_task(Pings(bus, answering).keep())
    asked: list[tuple[str, Arrival]] = []
    await bus.subscribe(
        subjects.presence_rooms(3), lambda message: asked.append((message.reply, answering.arrived())), queue="presence"
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
        assert [answering.takes(arrival, now) for _, arrival in questions] == [False, True]

        refusals = []
        for reply, _ in questions:
            bus.publish(reply, b"an answer")
            await bus.flush()
            refusals.append(registry.get_sample_value("studyroom_nats_refusals_total"))
        assert refusals == [1, 1], "NATS refuses the answer to the first, and takes the other"
    finally:
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
        await bus.close()
        await gateway.close()
