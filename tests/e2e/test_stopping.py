"""Stopping and starting: a gateway under load, presence with work in hand, the whole stack."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studyroom.shared.contract.close_codes import parse_reconnect_hint
from tests.support.client import Client
from tests.support.processes import NatsServer, ServiceProcess, all_running, embedded_stack, service
from tests.support.waiting import http_get, wait_until

STOP_DEADLINE_SECONDS = 15
GATEWAY = {
    "STUDYROOM_GATEWAY_CLOSE_TIMEOUT_SECONDS": "2",
    "STUDYROOM_GATEWAY_RECONNECT_SPREAD_MS": "500",
    "STUDYROOM_GATEWAY_RECONNECT_ALLOWANCE_SECONDS": "5",
}


@pytest.fixture
def services(own_nats: NatsServer, tmp_path: Path) -> Iterator[dict[str, ServiceProcess]]:
    processes = {
        name: service(
            name, tmp_path, own_nats.url, STUDYROOM_STOP_DEADLINE_SECONDS=str(STOP_DEADLINE_SECONDS),
            **(GATEWAY if name == "gateway" else {}),
        )
        for name in ("provisioner", "presence", "gateway")
    }  # fmt: skip
    with all_running(*processes.values()):
        yield processes


async def test_a_stopping_gateway_closes_a_thousand_connections_with_1012_and_exits_0(
    services: dict[str, ServiceProcess], room: str
):
    gateway = services["gateway"]
    host, port = "127.0.0.1", int(gateway.url.split(":")[2].split("/")[0])
    open_clients: list[Client] = []
    for _ in range(19):
        open_clients += await asyncio.gather(*(Client.connect(gateway.url) for _ in range(50)))
    members = open_clients[:100]
    await asyncio.gather(*(client.join(room) for client in members))
    half_open = [socket.create_connection((host, port)) for _ in range(30)]
    half_asked = [socket.create_connection((host, port)) for _ in range(20)]
    for asking in half_asked:
        asking.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n")
    deaf = open_clients[-20:]
    for client in deaf:
        client.socket.transport.pause_reading()

    began = time.monotonic()
    gateway.signal(signal.SIGTERM)
    status = await asyncio.to_thread(gateway.wait, STOP_DEADLINE_SECONDS + 5)
    took = time.monotonic() - began
    answering = open_clients[:-20]
    codes = [await client.ended() for client in answering]
    for client in deaf:
        client.socket.transport.resume_reading()
        await client.ended()
    for leftover in (*half_open, *half_asked):
        leftover.close()

    assert status == 0, gateway.output()[-2000:]
    assert took < STOP_DEADLINE_SECONDS
    assert set(codes) == {1012}
    assert all(parse_reconnect_hint(client.close_reason) is not None for client in answering)


async def test_the_members_of_a_stopped_gateway_have_left_their_room(
    services: dict[str, ServiceProcess], own_nats: NatsServer, tmp_path: Path, room: str
):
    other = service("gateway", tmp_path, own_nats.url)
    other.start()
    other.wait_ready()
    staying = await Client.connect(other.url)
    going = [await Client.connect(services["gateway"].url) for _ in range(5)]
    await staying.join(room)
    for client in going:
        await client.join(room)
    services["gateway"].signal(signal.SIGTERM)
    assert await asyncio.to_thread(services["gateway"].wait) == 0
    left = {(await staying.expect("UserLeft"))["user_id"] for _ in going}
    await staying.close()
    other.stop()

    assert left == {client.user for client in going}
    assert [await client.ended() for client in going] == [1012] * 5


async def test_a_stopping_gateway_is_not_ready_and_serves_on_until_load_balancers_have_noticed(
    own_nats: NatsServer, tmp_path: Path
):
    started = [service(name, tmp_path, own_nats.url) for name in ("provisioner", "presence")]
    gateway = service("gateway", tmp_path, own_nats.url, STUDYROOM_GATEWAY_DRAIN_DELAY_SECONDS="3")
    for process in (*started, gateway):
        process.start()
    for process in (*started, gateway):
        process.wait_ready()
    gateway.signal(signal.SIGTERM)
    wait_until(lambda: http_get(f"{gateway.admin_url}/readyz")[0] == 503, "not ready while stopping", 3)
    assert http_get(f"{gateway.admin_url}/healthz")[0] == 200
    client = await Client.connect(gateway.url)
    await client.join("550e8400-e29b-41d4-a716-446655440000")
    assert await client.ended() == 1012
    assert await asyncio.to_thread(gateway.wait) == 0
    for process in started:
        process.stop()


async def test_a_drain_that_meets_its_deadline_aborts_the_rest_and_exits_0(
    services: dict[str, ServiceProcess], own_nats: NatsServer, tmp_path: Path
):
    impatient = service("gateway", tmp_path, own_nats.url, STUDYROOM_STOP_DEADLINE_SECONDS="1")
    impatient.start()
    impatient.wait_ready()
    deaf = [await Client.connect(impatient.url) for _ in range(3)]
    for client in deaf:
        client.socket.transport.pause_reading()
    impatient.signal(signal.SIGTERM)
    status = await asyncio.to_thread(impatient.wait, 15)
    for client in deaf:
        client.socket.transport.abort()
        await client.ended()

    assert status == 0
    assert "did not stop cleanly" not in impatient.output()


async def test_stopping_presence_finishes_the_requests_it_has_taken(
    services: dict[str, ServiceProcess], own_nats: NatsServer, tmp_path: Path, room: str
):
    """The only other replica starts after the first has stopped, so nobody else can have answered."""
    gateway = services["gateway"]
    joining = [await Client.connect(gateway.url) for _ in range(200)]
    before = services["presence"].metric("studyroom_presence_joins_total")
    for client in joining:
        await client.send("JoinRoom", {"room_id": room})
    wait_until(lambda: services["presence"].metric("studyroom_presence_joins_total") > before, "joins are under way")
    services["presence"].signal(signal.SIGTERM)
    assert await asyncio.to_thread(services["presence"].wait) == 0
    successor = service("presence", tmp_path, own_nats.url)
    successor.start()
    successor.wait_ready()
    for client in joining:
        await client.expect("JoinedRoom")
    unanswered = gateway.metric('studyroom_gateway_join_duration_seconds_count{result="unavailable"}')
    for client in joining:
        await client.drop()
    gateway.stop()
    successor.stop()

    assert unanswered == 0
    assert "could not carry out a request" not in services["presence"].output()


def test_the_whole_stack_starts_prints_its_addresses_and_leaves_nothing_behind(tmp_path: Path):
    stack = embedded_stack(tmp_path, gateways=2, presence=2)
    stack.start()
    try:
        stack.wait_ready()
        rows = stack.table()
        assert [row["service"] for row in rows] == [
            "nats", "provisioner", "presence", "presence", "gateway", "gateway",
        ]  # fmt: skip
        assert all(http_get(f"{row['admin_url']}/healthz")[0] == 200 for row in rows)
        first, second = (int(row["url"].rsplit(":", 1)[1]) for row in rows[-2:])
        assert second == first + 1
    finally:
        stack.signal(signal.SIGINT)
        assert stack.wait() == 0
    for row in rows:
        assert not Path(f"/proc/{row['pid']}").exists(), f"{row['name']} is still there"


def test_a_stack_that_is_killed_outright_leaves_nothing_behind(tmp_path: Path):
    stack = embedded_stack(tmp_path, gateways=1, presence=1)
    stack.start()
    stack.wait_ready()
    pids = [row["pid"] for row in stack.table()]
    stack.signal(signal.SIGKILL)
    stack.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "all children are gone")


def test_a_child_that_dies_is_reported_and_started_again(tmp_path: Path):
    stack = embedded_stack(tmp_path, gateways=1, presence=1)
    stack.start()
    try:
        stack.wait_ready()
        gateway = stack.of("gateway")[0]
        subprocess.run(["kill", "-KILL", str(gateway["pid"])], check=True)
        wait_until(lambda: "gateway-0 (pid" in stack.output(), "the death is reported")
        wait_until(lambda: stack.of("gateway")[0]["restarts"] == 1, "it is started again")
        wait_until(lambda: http_get(f"{gateway['url']}/health")[0] == 200, "it answers at the same address")
    finally:
        stack.stop()


def test_two_stacks_do_not_share_a_data_directory(tmp_path: Path):
    stack = embedded_stack(tmp_path, gateways=1, presence=1)
    stack.start()
    try:
        stack.wait_ready()
        second = embedded_stack(tmp_path, gateways=1, presence=1)
        run = subprocess.run(second.command, capture_output=True, text=True, timeout=30, check=False)
        assert run.returncode == 1
        assert "in use by another stack" in run.stderr
        assert stack.table()
    finally:
        stack.stop()


def test_a_port_in_use_is_one_clear_line(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = subprocess.run(
            [sys.executable, "-m", "studyroom", "up", "--port", str(port), "--data-dir", str(tmp_path)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    assert run.returncode == 1
    assert len(run.stderr.strip().splitlines()) == 1
    assert str(port) in run.stderr


def test_more_gateways_than_ports_is_one_clear_line(tmp_path: Path):
    run = subprocess.run(
        [sys.executable, "-m", "studyroom", "up", "--gateways", "2", "--port", "65535", "--data-dir", str(tmp_path)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert run.returncode == 1
    assert len(run.stderr.strip().splitlines()) == 1


def test_bad_settings_stop_every_process_at_the_start_with_all_their_names(tmp_path: Path):
    bad = {"STUDYROOM_LOG_LEVEL": "loud", "STUDYROOM_GATEWAY_PORT": "many", "STUDYROOM_NATS_URL": "http://x"}
    for arguments in (["gateway"], ["up", "--data-dir", str(tmp_path)]):
        run = subprocess.run(
            [sys.executable, "-m", "studyroom", *arguments],
            env=bad, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert run.returncode == 2
        assert all(variable in run.stderr for variable in bad)


def test_the_schema_command_prints_json_schema():
    run = subprocess.run([sys.executable, "-m", "studyroom", "schema"], capture_output=True, check=True, timeout=30)

    assert json.loads(run.stdout)["$defs"]["ClientMessage"]


async def test_a_gateway_that_stops_while_nats_is_away_does_not_wait_for_it(
    services: dict[str, ServiceProcess], own_nats: NatsServer, room: str
):
    client = await Client.connect(services["gateway"].url)
    await client.join(room)
    await asyncio.to_thread(own_nats.stop)
    services["gateway"].signal(signal.SIGTERM)
    assert await client.ended() == 1012
    status = await asyncio.to_thread(services["gateway"].wait, STOP_DEADLINE_SECONDS - 5)
    assert status == 0
