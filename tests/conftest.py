from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.support.faults import new_faults
from tests.support.processes import EmbeddedStack, NatsServer, embedded_stack, nats_server, running
from tests.support.turns import turn


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Runs the tests of a file in one process when `make test` runs two, and so all tests that share the containers."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        return str(file.parent if file.parent.name == "containers" else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByFile(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # waiting for its turn is not part of a test's time
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Nothing else runs beside a test that is marked so."""
    with turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(autouse=True)
def services_without_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """No service that a test has started, or shares, logs an exception that nothing has handled."""
    yield
    found = new_faults()
    assert not found or request.node.get_closest_marker("faulty"), "\n".join(found[:5])


@pytest.fixture
def room() -> str:
    """A room nobody else uses."""
    return str(uuid4())


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """The whole system with two gateways and two presence replicas. Tests share it and use rooms of their own."""
    with running(embedded_stack(tmp_path_factory.mktemp("stack"), documents=1)) as ready:
        yield ready


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A nats-server for one test alone."""
    with running(nats_server(tmp_path)) as server:
        yield server
