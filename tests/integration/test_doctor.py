"""`studyroom doctor` against a real system with the users of production, well and not."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from studyroom.services.doctor.assess import problems as judged
from studyroom.services.doctor.collect import look
from studyroom.services.provisioner.streams import specifications
from studyroom.services.stack.stack import free_port
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.contract.subjects import STREAMS
from tests.support.accounts import options_of, user_of
from tests.support.client import clients
from tests.support.processes import (
    ClusterNode,
    NatsServer,
    ServiceProcess,
    all_running,
    clustered_nats_server,
    deployed_nats_server,
    running,
    service,
)
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
    with all_running(*processes.values()):
        yield processes


def doctor(server: NatsServer, *arguments: str, **environment: str) -> tuple[int, str]:
    """Its exit status and output."""
    run = subprocess.run(
        [sys.executable, "-m", "studyroom", "doctor", *arguments],
        check=False, capture_output=True, text=True, timeout=60,
        env={"STUDYROOM_NATS_URL": server.url, **user_of("doctor"), **environment},
    )  # fmt: skip
    assert run.stderr == ""
    return run.returncode, run.stdout


def problems(server: NatsServer, **environment: str) -> list[str]:
    status, output = doctor(server, "--json", **environment)
    sent: dict[str, Any] = json.loads(output)
    assert status == (0 if sent["ok"] else 1)
    assert sent["ok"] is (sent["problems"] == [])
    found: list[str] = sent["problems"]
    return found


async def test_it_finds_nothing_where_all_is_well_and_every_fault_where_it_is_not(
    server: NatsServer, system: dict[str, ServiceProcess], tmp_path: Path
):
    status, screen = doctor(server)
    assert (status, screen.splitlines()[-1]) == (0, "All is well.")
    assert "KV_presence" in screen
    assert "of 8,000,000,000 (0%)" in screen
    assert "shards that presence answers for: 64 of 64" in screen
    assert "gateways per room: no rooms" in screen
    async with clients(system["gateway"].url) as (ann,):
        await ann.join(str(uuid4()))
        assert "gateways per room: 1.0 on average and 1 at most, in a sample of 1" in doctor(server)[1]

    # Settings that are not those of the provisioner.
    (problem,) = problems(server, STUDYROOM_STORAGE_CHAT_MAX_MESSAGES_PER_ROOM="7")
    assert problem == "stream CHAT: max_msgs_per_subject is 10000 and should be 7"

    # A replica that is stopped is named, and is not taken for shards that nobody serves while another one answers.
    with running(service("presence", tmp_path, server.url, **user_of("presence"))):
        system["presence"].signal(signal.SIGSTOP)
        (problem,) = problems(server)
        system["presence"].signal(signal.SIGCONT)
    assert problem.startswith("the presence replica at ")
    assert problem.endswith(" is connected, but does not answer")

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


async def test_it_reports_storage_that_is_nearly_full_and_data_that_is_not_on_disk_when_acknowledged(
    server: NatsServer, tmp_path: Path
):
    server.stop()
    config = tmp_path / "nats" / "nats.conf"
    small = config.read_text().replace("sync_interval: always", "sync_interval: 1m")
    config.write_text(small)
    server.environment["NATS_MAX_FILE_STORE"] = "1M"
    with running(server):
        operator = await nats.connect(server.url, **options_of("operator"))
        await operator.jetstream().add_stream(name="other", subjects=["other"])
        for _ in range(9):
            await operator.jetstream().publish("other", bytes(100_000))
        await operator.close()
        found = problems(server)
    assert any(line.startswith("the storage of nats is 90% full") for line in found)
    assert any(line.startswith("nats acknowledges messages before they are synced") for line in found)


def test_it_reports_when_nats_is_away_or_does_not_let_it_in(server: NatsServer):
    (problem,) = problems(server, STUDYROOM_NATS_PASSWORD="wrong")
    assert problem.startswith("could not connect to NATS")
    server.stop()
    (problem,) = problems(server)
    assert problem.startswith("could not connect to NATS")


def test_it_reports_that_streams_without_a_leader_did_not_answer(tmp_path: Path):
    ports = [free_port() for _ in range(3)]
    nodes = [
        clustered_nats_server(tmp_path, ClusterNode(f"n{index}", port, tuple(ports)), with_accounts=True)
        for index, port in enumerate(ports)
    ]
    sent: list[str] = []
    three = {"STUDYROOM_STORAGE_REPLICAS": "3"}
    provisioner = service("provisioner", tmp_path, nodes[0].url, **user_of("provisioner"), **three)

    def leaderless() -> bool:
        sent.extend(problems(nodes[0], **three))
        return "stream CHAT has no leader" in sent and any(line.startswith("streams did not answer") for line in sent)

    with all_running(*nodes), running(provisioner):
        nodes[1].stop()
        nodes[2].stop()
        wait_until(leaderless, "the loss of the majority is noticed", 30)
    assert not any("does not exist" in line for line in sent)


async def test_a_server_that_freezes_while_it_looks_is_reported_as_unknown(server: NatsServer):
    settings = NatsSettings(url=(server.url,), user="doctor", password=SecretStr(options_of("doctor")["password"]))
    bus = Bus(settings, BusMetrics(CollectorRegistry()), name="doctor")
    await bus.connect()
    server.signal(signal.SIGSTOP)
    try:
        seen = await look(bus)
    finally:
        await bus.close()
    found = judged(seen, specifications(StorageSettings()))
    asked = {"servers", "streams", "leases", *(f"stream {name}" for name in STREAMS)}
    assert {line.split(":")[0] for line in found} == {f"{one} did not answer" for one in asked}
