"""The embedded stack: runs nats-server and all services as processes on this machine."""

import asyncio
import ctypes
import fcntl
import json
import os
import random
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from studyroom.services.stack.addresses import reach_of
from studyroom.services.stack.nats_server import NatsServerOptions, command
from studyroom.shared.chassis.listening import AddressUnavailable, listen

_READY_POLL_SECONDS = 0.05
_READY_DEADLINE_SECONDS = 60.0
_PROBE_TIMEOUT_SECONDS = 1.0
_RESTART_WAIT_SECONDS = 1.0
_STOP_MARGIN_SECONDS = 5.0
_HTTP_OK = 200
_PORT_MAX = 65_535
_PR_SET_PDEATHSIG = 1


class StackFailed(Exception):
    """The stack cannot run. `str()` is the reason, for the user."""


@dataclass(frozen=True)
class StackOptions:
    gateways: int
    workers: int
    """The number of workers of each gateway."""
    presence: int
    documents: int
    """The number of replicas of the documents service; 0 for no shared documents."""
    port: int
    host: str
    """The address that gateways listen on."""
    nats_url: str | None
    """The NATS to use; None to run a nats-server."""
    data_dir: Path
    stop_deadline_seconds: float = 25.0
    hooks: bool = False


@dataclass
class Child:
    """One process of the stack. `environment` has the variables that it gets in addition to the inherited ones."""

    name: str
    service: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    url: str = ""
    admin_urls: list[str] = field(default_factory=list)
    """The admin URL of each worker, or of the process itself."""
    ready_path: str = "/readyz"
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0


class Stack:
    def __init__(self, options: StackOptions) -> None:
        self._options = options
        self._reach = reach_of(options.host)
        self._stopping = asyncio.Event()
        self._children: list[Child] = []
        self._watchers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM. Raises StackFailed if it cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        self._options.data_dir.mkdir(parents=True, exist_ok=True)
        lock = self._lock_data_dir()
        self._check_ports()
        self._children = list(self._plan())
        try:
            for child in self._children:
                await self._spawn(child)
            if await self._wait_ready():
                self._write_table()
                print(_table(self._children, self._options, self._reach.from_elsewhere), flush=True)  # noqa: T201 - this is the output
                await self._stopping.wait()
        finally:
            await self._stop()
            self._table_path.unlink(missing_ok=True)
            lock.close()

    # --- the processes ------------------------------------------------------------------------------------

    @property
    def _table_path(self) -> Path:
        return self._options.data_dir / "stack.json"

    def _lock_data_dir(self) -> IO[str]:
        """Lock the directory, because two stacks must not share a store. The lock always ends with the process."""
        lock = (self._options.data_dir / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StackFailed(
                f"{self._options.data_dir} is in use by another stack (choose another with --data-dir)"
            ) from error
        self._table_path.unlink(missing_ok=True)
        return lock

    def _check_ports(self) -> None:
        last = self._options.port + self._options.gateways - 1
        if last > _PORT_MAX:
            raise StackFailed(
                f"{self._options.gateways} gateways from port {self._options.port} on go beyond {_PORT_MAX}"
            )
        for index in range(self._options.gateways):
            _handed_out.add(self._options.port + index)
            try:
                listen(self._options.host, self._options.port + index).close()
            except AddressUnavailable as error:
                raise StackFailed(f"{error} (choose another with --port)") from error

    def _plan(self) -> Iterator[Child]:
        options = self._options
        nats_url = options.nats_url
        if nats_url is None:
            nats_port, monitor_port = free_port(), free_port()
            nats_url = f"nats://127.0.0.1:{nats_port}"
            server = NatsServerOptions(nats_port, monitor_port, options.data_dir / "nats")
            monitor = f"http://127.0.0.1:{monitor_port}"
            yield Child(
                "nats",
                "nats",
                command(server),
                url=nats_url,
                admin_urls=[monitor],
                ready_path="/healthz",
            )
        yield self._service("provisioner", "provisioner", nats_url)
        for index in range(options.presence):
            yield self._service(f"presence-{index}", "presence", nats_url)
        for index in range(options.documents):
            yield self._service(f"documents-{index}", "documents", nats_url)
        if options.hooks:
            yield self._service("hooks-0", "hooks", nats_url)
        for index in range(options.gateways):
            port = options.port + index
            child = self._service(f"gateway-{index}", "gateway", nats_url, workers=options.workers)
            child.url = f"http://{self._reach.here}:{port}"
            child.environment |= {"STUDYROOM_GATEWAY_HOST": options.host, "STUDYROOM_GATEWAY_PORT": str(port)}
            child.environment |= self._edge_environment()
            yield child

    def _edge_environment(self) -> dict[str, str]:
        """Return settings of gateways that the environment does not have.

        Gateways accept only the names and addresses of this machine. They let guests in, who keep their user ids across
        gateways and restarts.
        """
        defaults = {
            "STUDYROOM_GATEWAY_HOSTS": ",".join(self._reach.names),
            "STUDYROOM_GATEWAY_GUESTS": "true",
            "STUDYROOM_GATEWAY_GUEST_SECRET": self._guest_secret(),
            # All processes stop together, and no load balancer leads clients to another gateway.
            "STUDYROOM_GATEWAY_MOVE_WITHIN_MS": "0",
        }
        return {variable: value for variable, value in defaults.items() if variable not in os.environ}

    def _guest_secret(self) -> str:
        path = self._options.data_dir / "guest-secret"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32), "ascii")
        return path.read_text("ascii")

    def _service(self, name: str, service: str, nats_url: str, *, workers: int = 1) -> Child:
        admin_port = free_ports(workers)
        environment = {
            "STUDYROOM_NATS_URL": nats_url,
            "STUDYROOM_ADMIN_HOST": "127.0.0.1",
            "STUDYROOM_ADMIN_PORT": str(admin_port),
        }
        run = [sys.executable, "-m", "studyroom", service, *(["--workers", str(workers)] if workers > 1 else [])]
        admin_urls = [f"http://127.0.0.1:{admin_port + worker}" for worker in range(workers)]
        return Child(name, service, run, environment, admin_urls=admin_urls)

    # --- starting and stopping ----------------------------------------------------------------------------

    async def _spawn(self, child: Child) -> None:
        log_path = self._options.data_dir / f"{child.name}.log"
        with log_path.open("ab") as log_file:
            child.process = await asyncio.create_subprocess_exec(
                *child.command,
                env={**os.environ, **child.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._watchers.append(asyncio.create_task(self._watch(child, child.process), name=f"watch {child.name}"))

    async def _watch(self, child: Child, process: asyncio.subprocess.Process) -> None:
        """Report a child that dies and start it again, until the stack stops."""
        status = await process.wait()
        if self._stopping.is_set():
            return
        child.restarts += 1
        log_path = self._options.data_dir / f"{child.name}.log"
        print(  # noqa: T201 - this is the output
            f"{child.name} (pid {process.pid}) ended with status {status}, starting it again; see {log_path}",
            file=sys.stderr,
            flush=True,
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(_RESTART_WAIT_SECONDS):
                await self._stopping.wait()
        if not self._stopping.is_set():
            await self._spawn(child)
            if self._stopping.is_set() and child.process is not None:
                child.process.terminate()
            else:
                self._write_table()

    async def _wait_ready(self) -> bool:
        """Wait until all children are ready. Return False if a signal came first. Raises StackFailed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _READY_DEADLINE_SECONDS
        for child in self._children:
            while not await asyncio.to_thread(_ready, child):
                if self._stopping.is_set():
                    return False
                if child.process is not None and child.process.returncode is not None:
                    raise StackFailed(f"{child.name} did not start:\n{self._log_tail(child)}")
                if loop.time() > deadline:
                    raise StackFailed(f"{child.name} is not ready:\n{self._log_tail(child)}")
                await asyncio.sleep(_READY_POLL_SECONDS)
        return not self._stopping.is_set()

    async def _stop(self) -> None:
        """Stop gateways first, then the services that they need. Each kind finishes its work before the next stops."""
        self._stopping.set()
        for service in ("gateway", "presence", "documents", "hooks", "provisioner", "nats"):
            group = [
                child.process
                for child in self._children
                if child.service == service and child.process is not None and child.process.returncode is None
            ]
            for process in group:
                process.terminate()
            if group:
                await self._reap(group)
        await asyncio.gather(*self._watchers)

    async def _reap(self, group: list[asyncio.subprocess.Process]) -> None:
        waits = [asyncio.create_task(process.wait()) for process in group]
        _, late = await asyncio.wait(waits, timeout=self._options.stop_deadline_seconds + _STOP_MARGIN_SECONDS)
        if late:
            for process in group:
                if process.returncode is None:
                    process.kill()
            await asyncio.wait(late)

    # --- output -------------------------------------------------------------------------------------------

    def _write_table(self) -> None:
        rows = [
            {
                "name": child.name,
                "service": child.service,
                "pid": child.pid,
                "url": child.url,
                "admin_url": child.admin_urls[0],
                "admin_urls": child.admin_urls,
                "restarts": child.restarts,
            }
            for child in self._children
        ]
        target = self._table_path
        draft = target.with_suffix(".tmp")
        draft.write_text(json.dumps({"processes": rows}, indent=2) + "\n")
        draft.replace(target)

    def _log_tail(self, child: Child) -> str:
        path = self._options.data_dir / f"{child.name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-10:])


_direct = build_opener(ProxyHandler({}))
"""Opens URLs on loopback without the proxy that the environment may name."""

_PORTS = range(20_000, 32_000)
"""Ports below those that Linux gives to outgoing connections, which could take one of them otherwise."""
_handed_out: set[int] = set()


def free_port() -> int:
    """Return a free port on loopback, another one in each call."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """Return the first of `count` adjacent free ports on loopback, others in each call."""
    while True:
        first = random.choice(_PORTS)  # noqa: S311 - any will do
        ports = range(first, first + count)
        if _handed_out.isdisjoint(ports) and all(_lock_port(port) and _is_free(port) for port in ports):
            _handed_out.update(ports)
            return first


def _lock_port(port: int) -> bool:
    """Lock the port against other processes of this user that look for free ports, until this process ends.

    Return False if another process has the lock.
    """
    locks = _port_locks()
    try:
        fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    return True


@cache
def _port_locks() -> int:
    """Open the file in which each byte stands for a port. Open it only once, because closing it releases all locks."""
    path = Path(tempfile.gettempdir()) / f"studyroom-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_free(port: int) -> bool:
    try:
        listen("127.0.0.1", port).close()
    except AddressUnavailable:
        return False
    return True


def _die_with_parent() -> None:
    """Ask Linux to send SIGTERM to this child if the stack is killed, so that no process is left."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ready(child: Child) -> bool:
    return all(_answers(url + child.ready_path) for url in child.admin_urls)


def _answers(url: str) -> bool:
    try:
        with _direct.open(url, timeout=_PROBE_TIMEOUT_SECONDS) as response:
            return bool(response.status == _HTTP_OK)
    except (URLError, OSError):
        return False


def nats_url_of(data_dir: Path) -> str | None:
    """Return the URL of the embedded NATS of the stack in this directory; None if there is none."""
    table = data_dir / "stack.json"
    try:
        processes = json.loads(table.read_text())["processes"]
    except FileNotFoundError:
        return None
    return next((process["url"] for process in processes if process["service"] == "nats"), None)


def _table(children: list[Child], options: StackOptions, from_elsewhere: list[str]) -> str:
    rows = [("process", "pid", "address", "admin")]
    for child in children:
        first, *others = child.admin_urls
        rows.append((child.name, str(child.pid), child.url, first))
        rows += [(f"  worker {worker}", "", "", url) for worker, url in enumerate(others, 1)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    gateways = [child.url for child in children if child.service == "gateway"]
    lines += [
        "",
        f"Studyroom is ready: open {gateways[0]}",
        *(f"On other devices: http://{host}:{options.port}" for host in from_elsewhere),
        f"Logs and data are in {options.data_dir}. Ctrl-C stops everything.",
    ]
    return "\n".join(lines)
