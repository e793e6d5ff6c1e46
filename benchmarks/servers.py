"""The measured servers: the whole stack of Studyroom and its peers, each started fresh and pinned to one core."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.request import ProxyHandler, build_opener

from benchmarks.generator import SERVER_CORE, Failed
from benchmarks.peers import Peer
from studyroom.services.stack.stack import free_port

_START_SECONDS = 60.0
_open_directly = build_opener(ProxyHandler({})).open
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Running:
    ports: list[int]
    pids: dict[int, str]
    """All processes of the server with their names. Several may have the same name."""
    log: Path


class Server(Protocol):
    """A server to measure."""

    @property
    def name(self) -> str: ...
    @property
    def dialect(self) -> str: ...
    @property
    def announces_joins(self) -> bool: ...
    @property
    def conflates(self) -> bool:
        """Whether it conflates cursors, so that members get only the newest of each member."""

    @property
    def echoes_chat(self) -> bool:
        """Whether senders receive their own chat."""

    def missing(self) -> str | None:
        """Return the command that installs its requirements; None if nothing is missing."""

    def prepare(self, directory: Path) -> None: ...
    def start(self, directory: Path, *, storm: bool) -> "Start": ...
    def pids(self, main_pid: int) -> list[int]:
        """The processes whose CPU time and memory count."""


@dataclass(frozen=True)
class Start:
    command: list[str]
    environment: dict[str, str]
    ports: list[int]
    stack_table: Path | None = None
    """The file that `studyroom up` writes when it is ready."""


@dataclass(frozen=True)
class Studyroom:
    """Gateways, nats-server, presence and provisioner, as `studyroom up` runs them."""

    name: str = "studyroom"
    gateways: int = 1
    dialect: str = "room"
    announces_joins: bool = True
    conflates: bool = True
    echoes_chat: bool = True

    def missing(self) -> str | None:
        return None

    def prepare(self, directory: Path) -> None:
        """Do nothing, because there is nothing to build."""

    def pids(self, main_pid: int) -> list[int]:
        """Return the services, without `studyroom up` itself, which does no work."""
        return [main_pid]

    def start(self, directory: Path, *, storm: bool) -> Start:  # noqa: ARG002 - it always tells of joins
        port = free_port()
        data = directory / "studyroom"
        command = [sys.executable, "-m", "studyroom", "up", "--port", str(port), "--gateways", str(self.gateways)]
        # Senders of the shapes send more than the limits allow.
        environment = {
            "STUDYROOM_GATEWAY_MESSAGES_PER_SECOND": "1000000",
            "STUDYROOM_GATEWAY_BYTES_PER_SECOND": "1000000000",
            # All of them have the same address.
            "STUDYROOM_GATEWAY_ADDRESS_CONNECTIONS_MAX": "0",
            "STUDYROOM_GATEWAY_HANDSHAKES_PER_SECOND": "0",
        }
        ports = list(range(port, port + self.gateways))
        return Start([*command, "--data-dir", str(data)], environment, ports, data / "stack.json")


@dataclass(frozen=True)
class Other:
    """A peer with one process, which may have children."""

    peer: Peer
    conflates: bool = False

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def dialect(self) -> str:
        return self.peer.dialect

    @property
    def announces_joins(self) -> bool:
        return self.peer.announces_joins

    @property
    def echoes_chat(self) -> bool:
        return self.dialect != "nats"

    def missing(self) -> str | None:
        return self.peer.missing()

    def prepare(self, directory: Path) -> None:
        self.peer.prepare(directory)

    def pids(self, main_pid: int) -> list[int]:
        return self.peer.pids(main_pid)

    def start(self, directory: Path, *, storm: bool) -> Start:
        port = free_port()
        return Start(self.peer.command(port, directory, announce_joins=storm), {}, [port])


@contextmanager
def running(server: Server, directory: Path, *, storm: bool = False) -> Iterator[Running]:
    """Start the server, wait until it is ready, and stop it at the end. Raises Failed.

    `storm`: the server must announce joins to members.
    """
    start = server.start(directory, storm=storm)
    log = directory / f"{server.name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            start.command,
            env={**os.environ, **start.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_on_the_servers_core,  # noqa: PLW1509 - single-threaded here
        )
    try:
        yield Running(start.ports, _wait_ready(process, start, server.pids), log)
    finally:
        _end(process)


def _on_the_servers_core() -> None:
    os.sched_setaffinity(0, {SERVER_CORE})


def _wait_ready(process: "subprocess.Popen[bytes]", start: Start, pids: Callable[[int], list[int]]) -> dict[int, str]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"ended with status {process.returncode} before it was ready")
        if start.stack_table is not None and start.stack_table.exists():
            rows = json.loads(start.stack_table.read_text())["processes"]
            return {row["pid"]: row["service"] for row in rows}
        if start.stack_table is None and _answers(start.ports[0]):
            return dict.fromkeys(pids(process.pid), "server")
        time.sleep(0.1)
    raise Failed("not ready in time")


def _answers(port: int) -> bool:
    try:
        _open_directly(f"http://127.0.0.1:{port}/", timeout=1).close()
    except OSError as error:
        # Any answer of HTTP will do. A server for WebSockets only refuses the request or closes the connection.
        return not isinstance(getattr(error, "reason", error), ConnectionRefusedError)
    return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
