"""The servers that the benchmark compares Studyroom with, as `make bench` runs them.

README.md in this folder has their wire protocols byte by byte. In short, with one JSON text frame per line:

- `room`: Studyroom's own protocol at `/ws?username=`.
- `socketio`: Engine.IO 4. `40`, then `42["JoinRoom",{…}]`; answer a `2` with a `3`.
- `centrifugo`: `{"id":1,"connect":{}}`, then `{"id":2,"subscribe":{"channel":"<room>"}}`, then
  `{"id":3,"publish":{"channel":"<room>","data":{…}}}`. A frame from the server has one or more lines, each a reply
  (`{"id":3,"publish":{}}`), a push (`{"push":{"channel":"<room>","pub":{"data":{…},"info":{…}}}}`) or a ping (`{}`),
  which is answered with `{}`. The publisher gets its own publications.
- `nchan`: a text that arrives at `/ws/<room>` goes to everyone there, also to the sender.
- `nats`: NATS protocol in binary frames at `/`; the sender's own messages do not come back (`"echo":false`).
"""

import importlib.metadata
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from studyroom.services.stack.nats_server import NatsServerMissing, program

from .compiled import AxumPeer, CentrifugoPeer, LimitPeer
from .peer import HERE, Peer, debian_version, open_files, output_of, quiet, write_config

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
NGINX = Path("/usr/sbin/nginx")
RESERVED_FILES = 64
"""Descriptors that nginx and nats-server use for other things than clients."""


@dataclass(frozen=True)
class PythonPeer(Peer):
    script: str
    distributions: tuple[str, ...]

    def missing(self) -> str | None:
        for distribution in self.distributions:
            try:
                importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                return ".venv/bin/pip install --require-hashes -r requirements/bench.txt"
        return None

    def version(self) -> str:
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in self.distributions)

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del directory
        return [sys.executable, str(HERE / self.script), "--port", str(port), *quiet(announce_joins)]


@dataclass(frozen=True)
class NpmPeer(Peer):
    """A peer in a folder with a package from npm, which `make bench` installs."""

    folder: str
    package: str

    def missing(self) -> str | None:
        if shutil.which("node") is None:
            return "apt-get install nodejs npm"
        if not self._manifest.exists():
            return f"npm ci --prefix benchmarks/peers/{self.folder}"
        return None

    def version(self) -> str:
        return f"{self.package} {json.loads(self._manifest.read_text())['version']}"

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del directory
        script = str(HERE / self.folder / "server.js")
        return ["env", "NODE_ENV=production", *self._runtime(), script, "--port", str(port), *quiet(announce_joins)]

    def _runtime(self) -> list[str]:
        raise NotImplementedError

    @property
    def _manifest(self) -> Path:
        return HERE / self.folder / "node_modules" / self.package / "package.json"


@dataclass(frozen=True)
class NodePeer(NpmPeer):
    def version(self) -> str:
        return f"{super().version()}, node {output_of('node', '--version')}"

    def _runtime(self) -> list[str]:
        return ["node"]


@dataclass(frozen=True)
class BunPeer(NpmPeer):
    """The runtime itself comes from npm, in the package of this platform."""

    def _runtime(self) -> list[str]:
        platforms = HERE / self.folder / "node_modules" / "@oven"
        return [str(next(platforms.glob("bun-*/bin/bun"))), "run"]


@dataclass(frozen=True)
class NchanPeer(Peer):
    def missing(self) -> str | None:
        if NGINX.exists() and NCHAN_MODULE.exists():
            return None
        return "apt-get install nginx libnginx-mod-nchan"

    def version(self) -> str:
        return f"nchan {debian_version('libnginx-mod-nchan')}, nginx {debian_version('nginx')}"

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del announce_joins
        files = open_files()
        values = {"MODULE": NCHAN_MODULE, "FILES": files, "CONNECTIONS": files - RESERVED_FILES, "PORT": port}
        config = write_config("nchan/nginx.conf", directory, values)
        return [str(NGINX), "-p", str(config.parent), "-c", str(config)]


@dataclass(frozen=True)
class NatsPeer(Peer):
    def missing(self) -> str | None:
        try:
            program()
        except NatsServerMissing:
            return ".venv/bin/pip install --require-hashes -r requirements/bench.txt"
        return None

    def version(self) -> str:
        return output_of(program(), "--version")

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del announce_joins
        values = {"CONNECTIONS": open_files() - RESERVED_FILES, "PORT": port}
        return [program(), "-c", str(write_config("nats_ws/nats.conf", directory, values))]


LIMIT = LimitPeer("limit", "room", announces_joins=False)
COLLECTING = tuple(LIMIT.collecting(ms) for ms in (4, 8, 16, 50))
"""The limit where the newest is older."""

PEERS: tuple[Peer, ...] = (
    BunPeer("bun", "room", announces_joins=True, folder="bun", package="bun"),
    AxumPeer("axum", "room", announces_joins=True, program="axum_room"),
    AxumPeer("axum, original", "room", announces_joins=True, program="axum_original", echoing=True),
    CentrifugoPeer("centrifugo", "centrifugo", announces_joins=True),
    NchanPeer("nchan", "nchan", announces_joins=False),
    NatsPeer("nats-server", "nats", announces_joins=False),
    NodePeer("socket.io", "socketio", announces_joins=True, folder="socketio_node", package="socket.io"),
    PythonPeer(
        "websockets",
        "room",
        announces_joins=True,
        script="websockets_broadcast.py",
        distributions=("websockets", "uvloop"),
    ),
    LIMIT,
    *COLLECTING,
)
