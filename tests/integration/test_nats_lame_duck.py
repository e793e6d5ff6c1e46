"""A NATS server that stops as on Kubernetes: `preStop` signals it, and SIGTERM follows when it knows."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest

from studyroom.services.stack.nats_server import program
from tests.support.accounts import options_of
from tests.support.processes import NatsServer, deployed_nats_server, running
from tests.support.waiting import eventually


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with running(deployed_nats_server(tmp_path)) as ready:
        yield ready


async def test_it_asks_its_clients_to_go_before_it_stops_and_sigterm_does_not_hurry_it(server: NatsServer):
    sent: list[str] = []

    async def leaving() -> None:
        sent.append("lame duck")

    connection = await nats.connect(server.url, lame_duck_mode_cb=leaving, **options_of("operator"))
    command = [program(), "--signal", f"ldm={server.pid}"]
    assert (await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True)).returncode == 0
    began = time.monotonic()
    await eventually(lambda: sent, "clients are notified")
    server.signal(signal.SIGTERM)
    await connection.flush(2)  # it serves on meanwhile; its streams are the others' already
    await connection.close()
    assert server.wait(30) == 0
    assert time.monotonic() - began >= 4, "the grace period of the configuration was kept"
