"""The measured servers: the whole stack of Studyroom and its peers, each started fresh and pinned to one core."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
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
    admin_ports: list[int] = field(default_factory=list)
    """The first admin port of each gateway (Studyroom only)."""


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
        """Whether authors receive their own chat."""

    @property
    def echoes_cursor(self) -> bool:
        """Whether authors receive their own cursors."""

    def missing(self) -> str | None:
        """Return the command that installs its requirements; None if nothing is missing."""

    def version(self) -> str:
        """Return the installed version. Call this only if nothing is missing and the server is prepared."""

    def prepare(self) -> None:
        """Compile the server. Raises NotBuilt."""

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
    workers: int = 1
    """Workers of each gateway."""
    collect_ms: int | None = None
    """For how long rooms collect. By default it follows the load."""
    dialect: str = "room"
    announces_joins: bool = True
    conflates: bool = True
    echoes_chat: bool = True
    echoes_cursor: bool = False

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        """Return the commit, with a plus sign if something has been changed since."""
        described = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*", "--dirty=+")
        done = subprocess.run(described, check=False, capture_output=True, text=True)
        return done.stdout.strip() or "unknown"

    def prepare(self) -> None:
        """Do nothing, because there is nothing to build."""

    def pids(self, main_pid: int) -> list[int]:
        """Return the services, without `studyroom up` itself, which does no work."""
        return [main_pid]

    def start(self, directory: Path, *, storm: bool) -> Start:  # noqa: ARG002 - it always tells of joins
        port = free_port()
        data = directory / "studyroom"
        command = [sys.executable, "-m", "studyroom", "up", "--port", str(port), "--gateways", str(self.gateways)]
        command += ["--workers", str(self.workers)]
        # Senders of the shapes send more than the limits allow.
        environment = {
            "STUDYROOM_GATEWAY_MESSAGES_PER_SECOND": "1000000",
            "STUDYROOM_GATEWAY_BYTES_PER_SECOND": "1000000000",
            # All of them have the same address.
            "STUDYROOM_GATEWAY_ADDRESS_CONNECTIONS_MAX": "0",
            "STUDYROOM_GATEWAY_HANDSHAKES_PER_SECOND": "0",
        }
        if self.collect_ms is not None:
            for bound in ("MIN", "MAX"):
                environment[f"STUDYROOM_GATEWAY_COLLECT_{bound}_MS"] = str(self.collect_ms)
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
        return self.peer.echoes_chat

    @property
    def echoes_cursor(self) -> bool:
        return self.peer.echoes_cursor

    def missing(self) -> str | None:
        return self.peer.missing()

    def version(self) -> str:
        return self.peer.version()

    def prepare(self) -> None:
        self.peer.prepare()

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
            preexec_fn=on_the_servers_core,  # noqa: PLW1509 - single-threaded here
        )
    try:
        pids, admin_ports = _wait_ready(process, start, server.pids)
        yield Running(start.ports, pids, log, admin_ports)
    finally:
        _end(process)


def on_the_servers_core() -> None:
    os.sched_setaffinity(0, {SERVER_CORE})


def _wait_ready(
    process: "subprocess.Popen[bytes]", start: Start, pids: Callable[[int], list[int]]
) -> tuple[dict[int, str], list[int]]:
    """Return the names of all processes by pid, and the admin ports of gateways. Raises Failed."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"ended with status {process.returncode} before it was ready")
        if start.stack_table is not None and start.stack_table.exists():
            rows = json.loads(start.stack_table.read_text())["processes"]
            names = {pid: row["service"] for row in rows for pid in (row["pid"], *_children(row["pid"]))}
            gateways = [row["admin_url"] for row in rows if row["service"] == "gateway"]
            return names, [int(url.rpartition(":")[2]) for url in gateways]
        if start.stack_table is None and _answers(start.ports[0]):
            return dict.fromkeys(pids(process.pid), "server"), []
        time.sleep(0.1)
    raise Failed("not ready in time")


def _children(pid: int) -> list[int]:
    """Return the processes that this one has forked, such as the workers of a gateway."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            number, _, rest = stat.read_text().partition(" ")
            if int(rest.rpartition(") ")[2].split()[1]) == pid:
                found.append(int(number))
    return found


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
