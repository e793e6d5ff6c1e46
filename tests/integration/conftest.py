"""NATS for the integration tests: the embedded program, and again the one in a container."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.metrics import BusMetrics, ProcessMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from tests.support.compose import need
from tests.support.configured import Configured
from tests.support.documents import Gateway, Site
from tests.support.processes import NatsServer, nats_server, running

NATS_IMAGE = "nats:2.15-alpine"


@pytest.fixture(scope="module", params=["embedded", pytest.param("container", marks=pytest.mark.container)])
def nats_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "embedded":
        with running(nats_server(tmp_path_factory.mktemp("nats"))) as server:
            yield server.url
        return
    need("docker", "info")
    from testcontainers.community.nats import NatsContainer

    with NatsContainer(NATS_IMAGE, jetstream=True) as container:
        yield container.nats_uri()


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Configured]:
    """A server whose settings the test chooses. It stops at the end."""
    made = Configured(tmp_path)
    yield made
    made.server.stop()


Connect = Callable[..., Awaitable[Bus]]


@pytest.fixture
async def connect(nats_url: str) -> AsyncIterator[Connect]:
    """Makes connections, closed at the end."""
    made: list[Bus] = []

    async def make(**options: bool) -> Bus:
        bus = Bus(NatsSettings(url=(nats_url,)), BusMetrics(CollectorRegistry()), name="test", **options)
        await bus.connect()
        made.append(bus)
        return bus

    yield make
    for bus in made:
        await bus.close()


@pytest.fixture
async def bus(connect: Connect) -> Bus:
    return await connect()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    running = Tasks(ProcessMetrics(CollectorRegistry(), "test"))
    yield running
    await running.stop()


@pytest.fixture
def storage() -> StorageSettings:
    return StorageSettings()


# --- shared documents ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running(nats_server(tmp_path_factory.mktemp("nats"))) as server:
        yield server


@pytest.fixture
async def site(nats: NatsServer, tasks: Tasks) -> AsyncIterator[Site]:
    """Services and gateways of shared documents on `nats`."""
    site = Site(nats.url, tasks)
    await ensure(await site.bus("provisioner"), specifications(StorageSettings()))
    yield site
    await site.close()


@pytest.fixture
async def gateway(site: Site) -> Gateway:
    return await site.gateway()
