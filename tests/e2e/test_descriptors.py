"""A process with few file descriptors, and strangers who take as many as they can."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websockets

from tests.support.client import clients
from tests.support.processes import EmbeddedStack, NatsServer, ServiceProcess, all_running, running, service
from tests.support.waiting import http_get, wait_until

FEW = 64


def with_few_descriptors(process: ServiceProcess, *, soft: int = FEW, hard: int = FEW) -> ServiceProcess:
    limits = f"ulimit -Sn {soft} && ulimit -Hn {hard}" if soft != hard else f"ulimit -n {hard}"
    process.command = ["sh", "-c", f'{limits} && exec "$@"', "sh", *process.command]
    return process


@contextmanager
def idle_sockets(url: str, count: int, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Connected sockets that never send anything."""
    address = urlsplit(url)
    assert address.hostname is not None
    with ExitStack() as opened:
        yield [
            opened.enter_context(
                socket.create_connection((address.hostname, address.port or 80), 5, source_address=(source, 0))
            )
            for _ in range(count)
        ]


def cpu_seconds(process: ServiceProcess) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def is_healthy(gateway: ServiceProcess) -> bool:
    return http_get(gateway.url.replace("ws://", "http://").removesuffix("/ws") + "/health")[0] == 200


@pytest.fixture(scope="module")
def cramped(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway that may raise its limit, though not by much, and never loses patience."""
    gateway = service(
        "gateway", tmp_path_factory.mktemp("cramped"), stack.nats_url, STUDYROOM_GATEWAY_HANDSHAKE_SECONDS="3600"
    )
    with running(with_few_descriptors(gateway, soft=FEW - 20, hard=FEW)):
        yield gateway


def test_idle_sockets_leave_the_descriptors_that_nats_and_the_admin_port_need(own_nats: NatsServer, tmp_path: Path):
    gateway = with_few_descriptors(
        service("gateway", tmp_path, own_nats.url, STUDYROOM_GATEWAY_HANDSHAKE_SECONDS="3600")
    )
    others = (service(name, tmp_path, own_nats.url) for name in ("provisioner", "presence"))
    with all_running(*others, gateway), ExitStack() as strangers:
        for host in range(2, 18):
            strangers.enter_context(idle_sockets(gateway.url, 5, f"127.0.0.{host}"))
        before, logged = cpu_seconds(gateway), len(gateway.output())
        time.sleep(1)  # in which the loop would spin
        assert cpu_seconds(gateway) - before < 0.5
        assert len(gateway.output()) - logged < 10_000
        assert http_get(f"{gateway.admin_url}/readyz")[0] == 200
        own_nats.stop()
        own_nats.start()
        own_nats.wait_ready()
        gateway.wait_ready(30)
        assert is_healthy(gateway)  # the oldest of the strangers has made room
    assert "connections wait, because no file descriptors are left" in gateway.output()


def test_a_process_raises_its_limit_as_far_as_it_may(cramped: ServiceProcess):
    assert cramped.metric("process_max_fds") == FEW


async def test_a_gateway_without_descriptors_for_more_connections_answers_that_it_is_full(cramped: ServiceProcess):
    fitting = json.loads(next(line for line in cramped.output().splitlines() if '"listening"' in line))[
        "connections_max"
    ]
    async with clients(*[cramped.url] * fitting) as several:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(cramped.url)
        assert caught.value.response.status_code == 503
        assert json.loads(caught.value.response.body)["code"] == "too_many_connections"
        for client in several:
            await client.settle()


def test_an_address_cannot_keep_others_out_with_silent_sockets(cramped: ServiceProcess):
    before = cramped.metric("studyroom_gateway_idle_sockets_ended_total")
    with idle_sockets(cramped.url, 200, "127.0.0.2") as strangers:
        assert is_healthy(cramped)
        for stranger in strangers[:-5]:
            stranger.settimeout(5)
            assert stranger.recv(1) == b""
        wait_until(
            lambda: cramped.metric("studyroom_gateway_idle_sockets_ended_total") >= before + 195, "it is counted"
        )
