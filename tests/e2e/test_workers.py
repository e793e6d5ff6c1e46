"""A gateway of several workers: one port, one set of rooms, and nobody notices that there are many processes."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from studyroom.services.stack.stack import free_port, free_ports
from studyroom.shared.contract import subjects
from tests.support.client import Client
from tests.support.presence import connected
from tests.support.processes import EmbeddedStack, ServiceProcess, embedded_stack, gateway_workers, running
from tests.support.waiting import eventually, http_get, wait_until
from tests.support.workers import Start, alive, logged, of_each, pids, starting

ACCEPTED = "studyroom_gateway_connections_accepted_total"


@pytest.fixture
def start(stack: EmbeddedStack, tmp_path: Path) -> Iterator[Start]:
    """Start a gateway of some workers beside the stack; settings as keyword arguments."""
    with starting(tmp_path, stack.nats_url) as start:
        yield start


def accepted(gateway: ServiceProcess) -> list[int]:
    return of_each(gateway, ACCEPTED)


async def one_client_on_each(gateway: ServiceProcess) -> list[Client]:
    """Try until every worker has a connection, because the kernel chooses the worker."""
    found: dict[int, Client] = {}

    async def try_again() -> bool:
        before = await asyncio.to_thread(accepted, gateway)
        client = await Client.connect(gateway.url)
        after = await asyncio.to_thread(accepted, gateway)
        (worker,) = [index for index, count in enumerate(after) if count > before[index]]
        if worker in found:
            await client.close()
        else:
            found[worker] = client
        return len(found) == gateway.workers

    await eventually(try_again, "every worker has a client", 60)
    return [found[worker] for worker in range(gateway.workers)]


# --- while they run ----------------------------------------------------------------------------------------


async def test_people_on_different_workers_are_in_the_same_room(start: Start, room: str):
    ann, bob = await one_client_on_each(start())
    await ann.join(room)
    joined = await bob.join(room)
    received = await ann.expect("UserJoined")
    await bob.chat("hello")
    chat = await ann.expect("Chat")
    await bob.send("CursorMove", {"x": 1, "y": 2})
    cursor = await ann.expect("CursorUpdate")
    for client in (ann, bob):
        await client.close()

    assert {user["user_id"] for user in joined["users"]} == {ann.user, bob.user}
    assert received["user"]["user_id"] == cursor["user_id"] == bob.user
    assert chat["content"] == "hello"


async def test_every_worker_is_a_gateway_of_its_own(start: Start, stack: EmbeddedStack):
    async with connected(stack.nats_url) as bus:
        leases = await bus.jetstream().key_value(subjects.GATEWAYS_BUCKET)
        before = set(await leases.keys())
        gateway = start(3)
        assert len(set(await leases.keys()) - before) == 3

    assert len({http_get(f"{url}/metrics")[1] for url in gateway.admin_urls}) == 3
    assert len(set(pids(gateway))) == 3


async def test_connections_spread_over_the_workers(start: Start):
    gateway = start()
    clients: list[Client] = []
    for _ in range(20):
        clients += await asyncio.gather(*(Client.connect(gateway.url) for _ in range(10)))
    shares = accepted(gateway)
    for client in clients:
        await client.drop()

    assert sum(shares) == 200
    assert min(shares) >= 20


async def test_a_worker_that_is_killed_is_replaced_and_the_others_keep_their_clients(start: Start, room: str):
    gateway = start()
    ann, bob = await one_client_on_each(gateway)
    await ann.join(room)
    await bob.join(room)
    killed, kept = pids(gateway)
    os.kill(killed, signal.SIGKILL)
    assert await ann.ended() == 1006
    cem = await Client.connect(gateway.url)
    await cem.join(room)
    await cem.chat("still here?")
    chat = await bob.expect("Chat")
    await eventually(lambda: len(logged(gateway, "worker started")) == 3, "another worker is started")
    await asyncio.to_thread(gateway.wait_ready)
    newcomers = await one_client_on_each(gateway)
    (died,) = logged(gateway, "worker ended, starting it again")
    for client in (bob, cem, *newcomers):
        await client.close()

    assert chat["content"] == "still here?"
    assert (died["worker"], died["status"]) == (0, -signal.SIGKILL)
    assert pids(gateway)[1] == kept


async def test_a_worker_that_stands_still_gets_no_connections(start: Start):
    gateway = start()
    frozen, _ = pids(gateway)
    os.kill(frozen, signal.SIGSTOP)
    clients = [await Client.connect(gateway.url) for _ in range(20)]
    for client in clients:
        await client.close()
    os.kill(frozen, signal.SIGCONT)

    assert gateway.metric(ACCEPTED, worker=1) == 20


async def test_a_worker_that_is_stopped_drains_and_is_replaced(start: Start):
    gateway = start()
    drained, kept = await one_client_on_each(gateway)
    os.kill(pids(gateway)[0], signal.SIGTERM)
    code = await drained.ended()
    await eventually(lambda: len(logged(gateway, "worker started")) == 3, "another worker is started")
    await kept.settle()
    await kept.close()

    assert code == 1012
    assert logged(gateway, "worker ended, starting it again")[0]["status"] == 0


def test_a_worker_that_keeps_dying_is_started_ever_more_slowly(start: Start):
    gateway = start()
    for deaths in range(1, 5):
        os.kill(pids(gateway)[0], signal.SIGKILL)
        wait_until(lambda: len(logged(gateway, "worker started")) == 2 + deaths, "it is started again")  # noqa: B023
    waits = [line["wait_seconds"] for line in logged(gateway, "worker ended, starting it again")]

    assert waits[1:] == [2 * wait for wait in waits[:-1]]


def test_a_single_worker_needs_no_supervisor(stack: EmbeddedStack, tmp_path: Path):
    with running(gateway_workers(1, tmp_path, stack.nats_url)) as gateway:
        assert http_get(f"{gateway.admin_url}/healthz")[0] == 200
        assert Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text() == ""


# --- stopping ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopping_workers_close_with_1012_and_leave_nothing_behind(start: Start, number: signal.Signals):
    gateway = start()
    clients = await one_client_on_each(gateway)
    gateway.signal(number)
    status = await asyncio.to_thread(gateway.wait)

    assert [await client.ended() for client in clients] == [1012, 1012]
    assert status == 0, gateway.output()[-2000:]
    assert not any(map(alive, pids(gateway)))
    assert http_get(gateway.url.replace("ws://", "http://"))[0] == 0


async def test_workers_that_are_signalled_beside_their_supervisor_drain_all_the_same(start: Start):
    """Stop every process, as some service managers do."""
    gateway = start(STUDYROOM_GATEWAY_DRAIN_DELAY_SECONDS="1")
    clients = await one_client_on_each(gateway)
    gateway.signal(signal.SIGTERM)
    await eventually(lambda: len(logged(gateway, "stopping with the supervisor")) == 2, "all workers are stopping")
    for pid in pids(gateway):
        os.kill(pid, signal.SIGTERM)
    status = await asyncio.to_thread(gateway.wait)

    assert [await client.ended() for client in clients] == [1012, 1012]
    assert status == 0, gateway.output()[-2000:]


async def test_workers_whose_supervisor_is_killed_drain_and_end(start: Start):
    gateway = start()
    clients = await one_client_on_each(gateway)
    gateway.signal(signal.SIGKILL)
    await asyncio.to_thread(gateway.wait)
    codes = [await client.ended() for client in clients]
    await eventually(lambda: not any(map(alive, pids(gateway))), "no worker is left")

    assert codes == [1012, 1012]


def test_a_second_signal_ends_all_workers_at_once(start: Start):
    gateway = start(STUDYROOM_GATEWAY_DRAIN_DELAY_SECONDS="20")
    gateway.signal(signal.SIGTERM)
    wait_until(lambda: len(logged(gateway, "draining")) == 2, "all workers drain")
    gateway.signal(signal.SIGTERM)

    assert gateway.wait(10) == 128 + signal.SIGTERM
    assert not any(map(alive, pids(gateway)))


def test_a_worker_that_cannot_stop_is_killed_soon_after_the_deadline(start: Start):
    gateway = start(STUDYROOM_STOP_DEADLINE_SECONDS="1")
    os.kill(pids(gateway)[0], signal.SIGSTOP)
    gateway.signal(signal.SIGTERM)

    assert gateway.wait(15) == 1
    assert not any(map(alive, pids(gateway)))


# --- failures to start ------------------------------------------------------------------------------------


def failing(gateway: ServiceProcess, **environment: str) -> tuple[int, str]:
    """Exit status and output."""
    run = subprocess.run(
        gateway.command,
        env={**gateway.environment, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return run.returncode, run.stderr


def test_bad_settings_stop_all_workers_before_they_start_with_one_message(tmp_path: Path):
    gateway = gateway_workers(2, tmp_path, "http://x")
    status, output = failing(gateway, STUDYROOM_GATEWAY_PORT="many", STUDYROOM_ADMIN_PORT="65536")

    assert status == 2
    assert sorted(line.split(":")[0].strip() for line in output.splitlines()[1:]) == [
        "STUDYROOM_ADMIN_PORT", "STUDYROOM_GATEWAY_PORT", "STUDYROOM_NATS_URL",
    ]  # fmt: skip


def test_more_workers_than_admin_ports_is_a_bad_setting(tmp_path: Path):
    status, output = failing(gateway_workers(2, tmp_path, "nats://127.0.0.1:1", STUDYROOM_ADMIN_PORT="65535"))

    assert status == 2
    assert "STUDYROOM_ADMIN_PORT: 2 workers" in output


@pytest.mark.parametrize("which", ["public", "admin"])
def test_a_port_in_use_is_one_clear_line_for_all_workers(which: str, tmp_path: Path):
    admin, public = free_ports(2), free_port()
    gateway = gateway_workers(
        2, tmp_path, "nats://127.0.0.1:1", STUDYROOM_ADMIN_PORT=str(admin), STUDYROOM_GATEWAY_PORT=str(public)
    )
    taken = public if which == "public" else admin + 1
    with closing(socket.create_server(("127.0.0.1", taken))):
        status, output = failing(gateway)

    assert status == 1
    assert len(output.splitlines()) == 1
    assert str(taken) in output


def test_services_without_a_public_port_have_no_workers():
    run = subprocess.run(
        [sys.executable, "-m", "studyroom", "presence", "--workers", "2"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert run.returncode == 2
    assert "No such option" in run.stderr


# --- the embedded stack ------------------------------------------------------------------------------------


def workers_of(stack: EmbeddedStack) -> list[int]:
    """Process ids."""
    supervisors = [row["pid"] for row in stack.of("gateway")]
    return [int(pid) for one in supervisors for pid in Path(f"/proc/{one}/task/{one}/children").read_text().split()]


def test_a_stack_of_workers_that_is_killed_outright_leaves_nothing_behind(tmp_path: Path):
    with running(embedded_stack(tmp_path, "--workers", "2", gateways=1, presence=1)) as stack:
        workers = workers_of(stack)
        stack.signal(signal.SIGKILL)
        wait_until(lambda: not any(map(alive, workers)), "no worker is left")

    assert len(workers) == 2


def test_a_stack_of_workers_prints_where_each_is_and_leaves_nothing_behind(tmp_path: Path):
    stack = embedded_stack(tmp_path, "--workers", "2", gateways=2, presence=1)
    with running(stack):
        gateways = stack.of("gateway")
        admin_urls = [url for row in gateways for url in row["admin_urls"]]
        ready = [http_get(f"{url}/readyz")[0] for url in admin_urls]
        workers = workers_of(stack)
        printed = stack.output()

    assert ready == [200] * 4
    assert len(set(admin_urls)) == len(workers) == 4
    assert all(url in printed for url in admin_urls)
    assert not any(map(alive, workers))
