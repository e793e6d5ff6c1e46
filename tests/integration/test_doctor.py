"""`studyroom doctor` against a real system with the users of production, well and not."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.support.accounts import options_of, user_of
from tests.support.processes import NatsServer, ServiceProcess, deployed_nats_server, running, service
from tests.support.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with running(deployed_nats_server(tmp_path)) as ready:
        yield ready


@pytest.fixture
def system(server: NatsServer, tmp_path: Path) -> Iterator[dict[str, ServiceProcess]]:
    processes = {
        name: service(name, tmp_path, server.url, **user_of(name)) for name in ("provisioner", "presence", "gateway")
    }
    for process in processes.values():
        process.start()
    try:
        for process in processes.values():
            process.wait_ready()
        yield processes
    finally:
        for process in reversed(processes.values()):
            process.stop()


def doctor(server: NatsServer, *arguments: str, **environment: str) -> tuple[int, str]:
    """Its exit status and what it prints."""
    run = subprocess.run(
        [sys.executable, "-m", "services.cli", "doctor", *arguments],
        check=False, capture_output=True, text=True, timeout=60,
        env={"STUDYROOM_NATS_URL": server.url, **user_of("doctor"), **environment},
    )  # fmt: skip
    assert run.stderr == ""
    return run.returncode, run.stdout


def problems(server: NatsServer, **environment: str) -> list[str]:
    status, output = doctor(server, "--json", **environment)
    told: dict[str, Any] = json.loads(output)
    assert status == (0 if told["ok"] else 1)
    assert told["ok"] is (told["problems"] == [])
    found: list[str] = told["problems"]
    return found


async def test_it_finds_nothing_where_all_is_well_and_every_fault_where_it_is_not(
    server: NatsServer, system: dict[str, ServiceProcess]
):
    status, screen = doctor(server)
    assert (status, screen.splitlines()[-1]) == (0, "All is well.")
    assert "KV_presence" in screen
    assert "shards that presence answers for: 64 of 64" in screen

    # Settings that are not those of the provisioner.
    (problem,) = problems(server, STUDYROOM_STORAGE_CHAT_MAX_MESSAGES_PER_ROOM="7")
    assert problem == "stream CHAT: max_msgs_per_subject is 10000 and should be 7"

    # A gateway that dies keeps its lease for some seconds.
    system["gateway"].signal(signal.SIGKILL)
    system["gateway"].wait()
    wait_until(lambda: "no gateway is connected" in problems(server), "the dead gateway is noticed", 10)

    system["presence"].stop()
    found = problems(server)
    assert "no presence is connected" in found
    assert "no presence replica answers for shards 0-63" in found

    system["provisioner"].stop()
    operator = await nats.connect(server.url, **options_of("operator"))
    await operator.request("$JS.API.STREAM.DELETE.CHAT", timeout=5)
    await operator.close()
    found = problems(server)
    assert "no provisioner is connected" in found
    assert "stream CHAT does not exist" in found


def test_it_says_when_nats_is_away_or_does_not_let_it_in(server: NatsServer):
    (problem,) = problems(server, STUDYROOM_NATS_PASSWORD="wrong")
    assert problem.startswith("NATS does not let us in")
    server.stop()
    (problem,) = problems(server)
    assert problem.startswith("NATS does not let us in")
