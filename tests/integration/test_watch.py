"""A watch over a bucket begins although NATS has silently dropped a request for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from studyroom.presence.watch import Watch
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, Message
from studyroom.shared.chassis.settings import NatsSettings
from tests.support.processes import NatsServer, configured_nats_server, running
from tests.support.waiting import eventually

STREAM = "KV_watched"
QUESTIONS = f"CONSUMER.CREATE.{STREAM}"
HELD = f'mappings: {{ "$JS.API.{QUESTIONS}.>": "held.>" }}'
"""Questions for consumers come to the test, which passes them on by the way of the domain, or does not."""


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with running(configured_nats_server(tmp_path, HELD, jetstream="domain: hub")) as server:
        yield server


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[Bus]:
    bus = Bus(NatsSettings(url=(nats.url,)), BusMetrics(CollectorRegistry()), name="test")
    await bus.connect()
    yield bus
    await bus.close()


async def test_a_watch_begins_soon_although_nats_has_silently_dropped_the_first_request(bus: Bus):
    await bus.api(f"STREAM.CREATE.{STREAM}", {"name": STREAM, "subjects": ["watched.*"]})
    await bus.store("watched.one", b"first", {}, timeout_seconds=5)
    asked: list[str] = []

    def drop_the_first_and_repeat_the_second(question: Message) -> None:
        asked.append(question.subject)
        name = question.subject.rsplit(".", 1)[1]
        for _ in range(2 * (len(asked) - 1)):
            bus.publish(f"$JS.hub.API.{QUESTIONS}.{name}", question.data, reply=question.reply)

    await bus.subscribe("held.>", drop_the_first_and_repeat_the_second)
    changes: list[bytes] = []
    watch = Watch(bus, STREAM, ["watched.*"])
    began = time.monotonic()
    _, to_come, _, last = await asyncio.wait_for(watch.start(lambda message, *_: changes.append(message.data)), 10)

    assert (to_come, last, len(set(asked))) == (1, 1, 1)
    assert time.monotonic() - began < 5
    await bus.store("watched.one", b"second", {}, timeout_seconds=5)
    await eventually(lambda: changes == [b"first", b"second"], "every change comes once")
    assert not watch.broken.is_set()
