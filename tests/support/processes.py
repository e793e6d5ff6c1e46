"""Real processes: nats-server alone or as a cluster, single services, and the whole embedded stack."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from studyroom.services.stack.nats_server import NatsServerOptions, command, program
from studyroom.services.stack.stack import free_port, free_ports
from tests.support import accounts, faults, fork_server
from tests.support.settings import without_settings
from tests.support.waiting import http_get, wait_until

Environment = dict[str, str]


@dataclass
class Process:
    """A child process with its output in a file."""

    name: str
    command: list[str]
    log: Path
    environment: Environment = field(default_factory=dict)
    popen: "subprocess.Popen[bytes] | fork_server.Forked | None" = None

    def start(self) -> None:
        faults.watch(self.log)
        environment = {**without_settings(), "STUDYROOM_ENV_FILE": "", **self.environment}
        with self.log.open("ab") as output:
            if fork_server.forks(self.command, self.environment):
                self.popen = fork_server.fork(self.command, environment, output.fileno())
                return
            self.popen = subprocess.Popen(
                self.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """With SIGSTOP it stands still on return, although one of several threads gets the signal before the others."""
        assert self.popen is not None
        self.popen.send_signal(number)
        if number == signal.SIGSTOP and self.running:
            wait_until(self._stands_still, f"{self.name} stands still")

    def _stands_still(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return all(thread.read_text().rpartition(")")[2].split()[0] in "TZ" for thread in threads)

    def wait(self, deadline_seconds: float = 30.0) -> int:
        """The exit status."""
        assert self.popen is not None
        return self.popen.wait(deadline_seconds)

    def stop(self) -> None:
        """End it, gently first."""
        if self.popen is None or self.popen.poll() is not None:
            return
        with suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGCONT)
            self.popen.terminate()
        try:
            self.popen.wait(40)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(5)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@dataclass
class NatsServer(Process):
    url: str = ""
    monitor_url: str = ""

    def wait_ready(self) -> None:
        wait_until(lambda: http_get(f"{self.monitor_url}/healthz")[0] == 200, f"{self.name} is healthy", 30)

    @property
    def store(self) -> Path:
        return self.log.parent / "store"

    def copy_store(self) -> Path:
        """Copy the present contents of the disk, for `go_back`."""
        copy = Path(tempfile.mkdtemp(dir=self.log.parent)) / "store"
        self.signal(signal.SIGSTOP)
        shutil.copytree(self.store, copy)
        self.signal(signal.SIGCONT)
        return copy

    def go_back(self, copy: Path) -> None:
        """Die, and start with earlier contents of the disk, as after a power cut or on a restored volume."""
        self.signal(signal.SIGKILL)
        self.wait()
        shutil.rmtree(self.store)
        shutil.copytree(copy, self.store)
        self.start()
        self.wait_ready()

    def monitor(self, path: str) -> dict[str, Any]:
        """A page of the monitoring port; empty when the server does not answer."""
        status, body = http_get(f"{self.monitor_url}/{path}")
        answer: dict[str, Any] = json.loads(body) if status == 200 else {}
        return answer


def nats_server(directory: Path) -> NatsServer:
    """One nats-server with JetStream, not yet started."""
    options = NatsServerOptions(free_port(), free_port(), directory / "store")
    return NatsServer(
        name="nats",
        command=command(options),
        log=directory / "nats.log",
        url=f"nats://127.0.0.1:{options.port}",
        monitor_url=f"http://127.0.0.1:{options.monitor_port}",
    )


def configured_nats_server(directory: Path, config: str = "", *, jetstream: str = "") -> NatsServer:
    """One nats-server with JetStream, not yet started. `config`, `jetstream`: more of its configuration."""
    port, monitor = free_port(), free_port()
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "nats.conf"
    file.write_text(
        f"""
        server_name: alone
        listen: "127.0.0.1:{port}"
        http: "127.0.0.1:{monitor}"
        jetstream {{ store_dir: "{directory}/store", {jetstream} }}
        {config}
        """
    )
    return NatsServer(
        name="nats",
        command=[program(), "--config", str(file)],
        log=directory / "nats.log",
        url=f"nats://127.0.0.1:{port}",
        monitor_url=f"http://127.0.0.1:{monitor}",
    )


@dataclass(frozen=True)
class ClusterNode:
    """The ports on which one server of a cluster listens, and the others' cluster ports."""

    name: str
    cluster_port: int
    routes: tuple[int, ...]
    only_by_routes: bool = False
    """Tell the others an address at which nobody listens, so that they know no way but the configured ones."""


def clustered_nats_server(
    directory: Path, node: ClusterNode, *, with_accounts: bool = False, jetstream: str = ""
) -> NatsServer:
    """One server of a JetStream cluster on loopback, not yet started. `with_accounts`: it asks who is who.

    `jetstream`: more of the configuration of its store.
    """
    port, monitor = free_port(), free_port()
    home = directory / node.name
    home.mkdir(parents=True, exist_ok=True)
    routes = json.dumps([f"nats://127.0.0.1:{route}" for route in node.routes])
    if with_accounts:
        shutil.copy(accounts.DEPLOYED / "accounts.conf", home)  # NATS includes only files beside it
    config = home / "nats.conf"
    config.write_text(
        f"""
        server_name: {node.name}
        listen: "127.0.0.1:{port}"
        http: "127.0.0.1:{monitor}"
        jetstream {{ store_dir: "{home}/store", {jetstream} }}
        {'include "accounts.conf"' if with_accounts else ""}
        cluster {{
          name: studyroom
          listen: "127.0.0.1:{node.cluster_port}"
          no_advertise: true
          {'advertise: "127.0.0.1:1"' if node.only_by_routes else ""}
          routes: {routes}
        }}
        """
    )
    return NatsServer(
        name=node.name,
        command=[program(), "--config", str(config)],
        log=home / "nats.log",
        environment=accounts.PASSWORDS,
        url=f"nats://127.0.0.1:{port}",
        monitor_url=f"http://127.0.0.1:{monitor}",
    )


def deployed_nats_server(directory: Path, *, tls: str = "", store: Path | None = None) -> NatsServer:
    """One nats-server with the configuration of production, not yet started: alone, and on ports of its own."""
    return _deployed("nats", directory, store or directory / "store", cluster="", tls=tls)


def deployed_nats_cluster(directory: Path, stores: list[Path]) -> list[NatsServer]:
    """A server for each store directory, with the configuration of production, not yet started."""
    ports = [free_port() for _ in stores]
    routes = json.dumps(
        [f"nats://route:{accounts.PASSWORDS['NATS_ROUTE_PASSWORD']}@127.0.0.1:{port}" for port in ports]
    )
    deployed = (accounts.DEPLOYED / "cluster.conf").read_text()
    made = []
    for index, (port, store) in enumerate(zip(ports, stores, strict=True)):
        cluster = deployed.replace("port: 6222", f'listen: "127.0.0.1:{port}"').replace("$NATS_ROUTES", routes)
        made.append(_deployed(f"nats-{index}", directory, store, cluster=cluster, tls=""))
    return made


def _deployed(name: str, directory: Path, store: Path, *, cluster: str, tls: str) -> NatsServer:
    home = directory / name
    shutil.copytree(accounts.DEPLOYED, home)
    (home / "cluster.conf").write_text(cluster)
    (home / "tls.conf").write_text(tls)
    (home / "routes-tls.conf").write_text("")
    port, monitor = free_port(), free_port()
    return NatsServer(
        name=name,
        command=[
            program(), "--config", str(home / "nats.conf"), "--addr", "127.0.0.1", "--port", str(port),
            "--http_port", str(monitor),
        ],
        log=directory / f"{name}.log",
        environment={
            **accounts.PASSWORDS, "NATS_NAME": name, "NATS_STORE_DIR": str(store), "NATS_MAX_FILE_STORE": "8G",
        },
        url=f"nats://127.0.0.1:{port}",
        monitor_url=f"http://127.0.0.1:{monitor}",
    )  # fmt: skip


def nats_cluster(directory: Path, *, with_accounts: bool = False, jetstream: str = "") -> list[NatsServer]:
    """Three servers, n0 to n2, not yet started. As `clustered_nats_server`."""
    ports = tuple(free_port() for _ in range(3))
    return [
        clustered_nats_server(
            directory, ClusterNode(f"n{index}", port, ports), with_accounts=with_accounts, jetstream=jetstream
        )
        for index, port in enumerate(ports)
    ]


@dataclass
class ServiceProcess(Process):
    admin_url: str = ""
    url: str = ""
    workers: int = 1

    @property
    def admin_urls(self) -> list[str]:
        """The admin address of each worker."""
        host, port = self.admin_url.rsplit(":", 1)
        return [f"{host}:{int(port) + worker}" for worker in range(self.workers)]

    def wait_ready(self, deadline_seconds: float = 60.0) -> None:
        def ready() -> bool:
            assert self.running, f"{self.name} ended:\n{self.output()[-2000:]}"
            return all(http_get(f"{url}/readyz")[0] == 200 for url in self.admin_urls)

        wait_until(ready, f"{self.name} is ready", deadline_seconds)

    def metrics(self) -> str:
        return http_get(f"{self.admin_url}/metrics")[1]

    def metric(self, sample: str, worker: int = 0) -> float:
        """The value of one sample, with its labels in the name. A missing sample is 0."""
        for line in http_get(f"{self.admin_urls[worker]}/metrics")[1].splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0


def service(name: str, directory: Path, nats_url: str, **environment: str) -> ServiceProcess:
    """One service process, not yet started. A gateway lets guests in by default."""
    admin_port = environment.pop("STUDYROOM_ADMIN_PORT", None) or str(free_port())
    variables = {"STUDYROOM_NATS_URL": nats_url, "STUDYROOM_ADMIN_PORT": admin_port}
    url = ""
    if name == "gateway":
        port = environment.pop("STUDYROOM_GATEWAY_PORT", None) or str(free_port())
        variables |= {"STUDYROOM_GATEWAY_PORT": port, "STUDYROOM_GATEWAY_GUESTS": "true"}
        url = f"ws://127.0.0.1:{port}/ws"
    return ServiceProcess(
        name=name,
        command=[sys.executable, "-m", "studyroom", name],
        log=directory / f"{name}-{admin_port}.log",
        environment={**variables, **environment},
        admin_url=f"http://127.0.0.1:{admin_port}",
        url=url,
    )


def gateway_workers(count: int, directory: Path, nats_url: str, **environment: str) -> ServiceProcess:
    """A gateway of several workers; its own process is their supervisor."""
    admin_port = environment.pop("STUDYROOM_ADMIN_PORT", None) or str(free_ports(count))
    gateway = service("gateway", directory, nats_url, STUDYROOM_ADMIN_PORT=admin_port, **environment)
    gateway.command += ["--workers", str(count)]
    gateway.workers = count
    return gateway


@dataclass
class EmbeddedStack(Process):
    """`studyroom up` as a user runs it."""

    data_dir: Path = Path()

    def start(self) -> None:
        super().start()
        faults.watch(self.data_dir)

    def wait_ready(self, deadline_seconds: float = 60.0) -> None:
        def ready() -> bool:
            assert self.running, f"studyroom up ended:\n{self.output()[-3000:]}"
            return "Studyroom is ready" in self.output()

        wait_until(ready, "the stack is ready", deadline_seconds)

    def table(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads((self.data_dir / "stack.json").read_text())["processes"]
        return rows

    def of(self, service: str) -> list[dict[str, Any]]:
        return [row for row in self.table() if row["service"] == service]

    @property
    def gateways(self) -> list[str]:
        """WebSocket addresses."""
        return [row["url"].replace("http://", "ws://") + "/ws" for row in self.of("gateway")]

    @property
    def nats_url(self) -> str:
        url: str = self.of("nats")[0]["url"]
        return url


def embedded_stack(
    directory: Path, *arguments: str, gateways: int = 2, presence: int = 2, documents: int = 0, **environment: str
) -> EmbeddedStack:
    """The whole system, not yet started."""
    data_dir = directory / "data"
    return EmbeddedStack(
        name="studyroom up",
        command=[
            sys.executable, "-m", "studyroom", "up",
            "--gateways", str(gateways), "--presence", str(presence), "--documents", str(documents),
            "--port", str(free_ports(gateways)), "--data-dir", str(data_dir), *arguments,
        ],
        log=directory / "up.log",
        environment=environment,
        data_dir=data_dir,
    )  # fmt: skip


Startable = TypeVar("Startable", NatsServer, ServiceProcess, EmbeddedStack)


@contextmanager
def running(process: Startable) -> Iterator[Startable]:
    """Started, ready, and stopped at the end."""
    with all_running(process):
        yield process


@contextmanager
def all_running(*processes: NatsServer | ServiceProcess | EmbeddedStack) -> Iterator[None]:
    """Starts them together, and stops them at the end, the last of them first."""
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.wait_ready()
        yield
    finally:
        for process in reversed(processes):
            process.stop()
