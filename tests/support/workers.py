"""Gateways of several workers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studyroom.shared.chassis.siblings import Siblings
from tests.support.processes import ServiceProcess, gateway_workers

Start = Callable[..., ServiceProcess]
"""Starts a gateway; the number of workers, and settings as keyword arguments."""


@contextmanager
def starting(directory: Path, nats_url: str) -> Iterator[Start]:
    """Gateways that are started meanwhile, and stopped at the end."""
    started: list[ServiceProcess] = []

    def start(count: int = 2, **environment: str) -> ServiceProcess:
        gateway = gateway_workers(count, directory, nats_url, **environment)
        started.append(gateway)
        gateway.start()
        gateway.wait_ready()
        return gateway

    yield start
    for gateway in started:
        gateway.stop()


def logged(gateway: ServiceProcess, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in gateway.output().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def pids(gateway: ServiceProcess) -> list[int]:
    """The newest process of each worker."""
    newest = {line["worker"]: line["worker_pid"] for line in logged(gateway, "worker started")}
    return [newest[worker] for worker in range(gateway.workers)]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def of_each(gateway: ServiceProcess, sample: str) -> list[int]:
    """A metric of each worker."""
    return [round(gateway.metric(sample, worker)) for worker in range(gateway.workers)]


def home(room: str, count: int, *, without: int | None = None) -> int:
    """The worker at which a room lives, while all workers but one accept sockets."""
    siblings = Siblings.open(count)[0]
    if without is not None:
        siblings.set_accepting(without, accepting=False)
    found = siblings.home(room)
    siblings.close()
    assert found is not None
    return found
