from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.compose import Project, need
from tests.support.processes import EmbeddedStack, NatsServer, embedded_stack, nats_server, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs in one process when `make test` runs two: a folder, and all that shares the containers."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        in_containers = item.path.name in {"test_compose.py", "test_containers.py"}
        item.add_marker(pytest.mark.xdist_group("containers" if in_containers else folder))


@pytest.fixture
def room() -> str:
    """A room nobody else uses."""
    return str(uuid4())


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """The whole system with two gateways and two presence replicas. Tests share it and use rooms of their own."""
    with running(embedded_stack(tmp_path_factory.mktemp("stack"))) as ready:
        yield ready


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A nats-server for one test alone."""
    with running(nats_server(tmp_path)) as server:
        yield server


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """The whole system in containers. Tests share it, and leave it as they found it."""
    need("docker", "info")
    need("docker", "compose", "version")
    running = Project.new()
    try:
        running.build()
        running.up()
        yield running
    finally:
        running.down()
