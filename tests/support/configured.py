"""A nats-server whose configuration is the test's, and can be changed while it runs."""

import signal
from pathlib import Path

from studyroom.services.stack.nats_server import program
from studyroom.services.stack.stack import free_port
from tests.support.processes import NatsServer
from tests.support.waiting import wait_until


class Configured:
    def __init__(self, directory: Path, *, domain: str = "") -> None:
        """It keeps its port and its storage for as long as the object lives."""
        self.port, monitor = free_port(), free_port()
        self._file = directory / "nats.conf"
        self._fixed = f'listen: "127.0.0.1:{self.port}"\nhttp: "127.0.0.1:{monitor}"\n'
        in_domain = f", domain: {domain}" if domain else ""
        self._fixed += f'jetstream {{ store_dir: "{directory}/store"{in_domain} }}\n'
        self.server = NatsServer(
            name="nats",
            command=[program(), "--config", str(self._file)],
            log=directory / "nats.log",
            url=f"nats://127.0.0.1:{self.port}",
            monitor_url=f"http://127.0.0.1:{monitor}",
        )

    def begin(self, text: str = "") -> None:
        self._file.write_text(self._fixed + text)
        self.server.start()
        self.server.wait_ready()

    def reload(self, text: str) -> None:
        """Reload as `nats-server --signal reload` does. Returns when the server has applied it."""
        before = self.server.output().count(_RELOADED)
        self._file.write_text(self._fixed + text)
        self.server.signal(signal.SIGHUP)
        wait_until(lambda: self.server.output().count(_RELOADED) > before, "the configuration is read again", 10)

    def restart(self, text: str) -> None:
        self.server.stop()
        self.begin(text)


_RELOADED = "Reloaded server configuration"
