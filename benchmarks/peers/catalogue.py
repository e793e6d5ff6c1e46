"""Describes each peer to the runner: its requirements, how to build and start it, and its wire protocol.

README.md in this folder has the protocols byte by byte. In short, with one JSON text frame per line:

- `room`: Studyroom's own protocol at `/ws?username=`.
- `socketio`: Engine.IO 4. `40`, then `42["JoinRoom",{…}]`; answer a `2` with a `3`.
- `centrifuge`: `{"id":1,"method":0,"params":{}}` connects, `{"id":2,"method":1,"params":{"channel":"<room>"}}`
  subscribes, `{"id":3,"method":3,"params":{"channel":"<room>","data":{…}}}` publishes. A frame from the server has one
  to four lines, each a reply (`{"id":3,"result":{}}`) or a push
  (`{"result":{"channel":"<room>","data":{"data":{…},"info":{…}}}}`). The publisher gets its own publications.
- `nchan`: a text that arrives at `/ws/<room>` goes to everyone there, also to the sender.
- `nats`: NATS protocol in binary frames at `/`; the sender's own messages do not come back (`"echo":false`).
"""

import importlib.metadata
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studyroom.services.stack.nats_server import NatsServerMissing, program

Dialect = Literal["room", "socketio", "centrifuge", "nchan", "nats"]

HERE = Path(__file__).resolve().parent

PATHS: dict[Dialect, str] = {
    "room": "/ws?username={username}",
    "socketio": "/socket.io/?EIO=4&transport=websocket&username={username}",
    "centrifuge": "/connection/websocket",
    "nchan": "/ws/{room}",
    "nats": "/",
}

GO_PATH = Path("/usr/share/gocode")
GO_PACKAGES = {
    "centrifugal/centrifuge": "golang-github-centrifugal-centrifuge-dev",
    "centrifugal/protocol": "golang-github-centrifugal-protocol-dev",
    "FZambia/eagle": "golang-github-fzambia-eagle-dev",
    "igm/sockjs-go": "golang-github-igm-sockjs-go-dev",
    "mna/redisc": "golang-github-mna-redisc-dev",
}
"""Folders below github.com and their Debian packages. The first one imports the others without depending on them."""

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
NGINX = Path("/usr/sbin/nginx")
RESERVED_FILES = 64
"""Descriptors that nginx and nats-server use for other things than clients."""


@dataclass(frozen=True)
class Peer(ABC):
    """A peer. `announces_joins`: the server announces joins and leaves to members, unless that is off."""

    name: str
    dialect: Dialect
    announces_joins: bool

    @property
    def path(self) -> str:
        """Path of the WebSocket, with `{room}` and `{username}` to fill in where the dialect has them there."""
        return PATHS[self.dialect]

    @abstractmethod
    def missing(self) -> str | None:
        """Return the command that installs the requirements, for the repository's root; None if not needed."""

    @abstractmethod
    def version(self) -> str:
        """Return the installed version. Call this only if nothing is missing."""

    def prepare(self, directory: Path) -> None:  # noqa: B027 - most have nothing to build
        """Build the peer into `directory`, which is kept between runs. Raises CalledProcessError."""

    @abstractmethod
    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        """Return a command that listens on 127.0.0.1:`port`. It writes configuration to `directory`.

        A peer that cannot announce joins ignores `announce_joins`.
        """

    def pids(self, main_pid: int) -> list[int]:
        """The processes whose CPU time and memory are the peer's: the one that was started and all its descendants."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                # The name in parentheses may hold anything; the parent is the second field after it.
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(stat.parent.name))
        found = [main_pid]
        for pid in found:
            found += children.get(pid, [])
        return found


@dataclass(frozen=True)
class PythonPeer(Peer):
    script: str
    distributions: tuple[str, ...]

    def missing(self) -> str | None:
        for distribution in self.distributions:
            if importlib.util.find_spec(distribution.removeprefix("python-")) is None:
                return ".venv/bin/pip install --require-hashes -r requirements/bench.txt"
        return None

    def version(self) -> str:
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in self.distributions)

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del directory
        return [sys.executable, str(HERE / self.script), "--port", str(port), *_quiet(announce_joins)]


@dataclass(frozen=True)
class NodePeer(Peer):
    folder: str
    package: str

    def missing(self) -> str | None:
        if shutil.which("node") is None:
            return "apt-get install nodejs npm"
        if not self._manifest.exists():
            return f"npm ci --prefix benchmarks/peers/{self.folder}"
        return None

    def version(self) -> str:
        node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
        return f"{self.package} {json.loads(self._manifest.read_text())['version']}, node {node}"

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del directory
        script = str(HERE / self.folder / "server.js")
        return ["env", "NODE_ENV=production", "node", script, "--port", str(port), *_quiet(announce_joins)]

    @property
    def _manifest(self) -> Path:
        return HERE / self.folder / "node_modules" / self.package / "package.json"


@dataclass(frozen=True)
class CentrifugePeer(Peer):
    def missing(self) -> str | None:
        sources = GO_PATH / "src" / "github.com"
        lacking = [package for folder, package in GO_PACKAGES.items() if not (sources / folder).exists()]
        if shutil.which("go") is None:
            lacking.insert(0, "golang-go")
        return f"apt-get install {' '.join(lacking)}" if lacking else None

    def version(self) -> str:
        return _debian_version(GO_PACKAGES["centrifugal/centrifuge"])

    def prepare(self, directory: Path) -> None:
        """The first build takes a minute of CPU; later ones come from Go's cache."""
        subprocess.run(
            ["go", "build", "-o", str(self._binary(directory)), "main.go"],
            check=True,
            cwd=HERE / "centrifuge_go",
            env={**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH)},
        )

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        flags = ["-join-leave"] if announce_joins else []
        return [str(self._binary(directory)), "-address", f"127.0.0.1:{port}", *flags]

    def _binary(self, directory: Path) -> Path:
        return directory.resolve() / "centrifuge"


@dataclass(frozen=True)
class NchanPeer(Peer):
    def missing(self) -> str | None:
        if NGINX.exists() and NCHAN_MODULE.exists():
            return None
        return "apt-get install nginx libnginx-mod-nchan"

    def version(self) -> str:
        return f"nchan {_debian_version('libnginx-mod-nchan')}, nginx {_debian_version('nginx')}"

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del announce_joins
        files = _open_files()
        values = {"MODULE": NCHAN_MODULE, "FILES": files, "CONNECTIONS": files - RESERVED_FILES, "PORT": port}
        config = _write_config("nchan/nginx.conf", directory, values)
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
        return subprocess.run([program(), "--version"], check=True, capture_output=True, text=True).stdout.strip()

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del announce_joins
        values = {"CONNECTIONS": _open_files() - RESERVED_FILES, "PORT": port}
        return [program(), "-c", str(_write_config("nats_ws/nats.conf", directory, values))]


def _quiet(announce_joins: bool) -> list[str]:
    return [] if announce_joins else ["--quiet-joins"]


def _open_files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _write_config(template: str, directory: Path, values: Mapping[str, object]) -> Path:
    text = (HERE / template).read_text()
    directory = directory.resolve()
    for name, value in {**values, "DIRECTORY": directory}.items():
        text = text.replace(f"@{name}@", str(value))
    path = directory / Path(template).name
    path.write_text(text)
    return path


def _debian_version(package: str) -> str:
    command = ["dpkg-query", "--show", "--showformat=${Version}", package]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


PEERS: tuple[Peer, ...] = (
    NchanPeer("nchan", "nchan", announces_joins=False),
    CentrifugePeer("centrifuge", "centrifuge", announces_joins=True),
    NatsPeer("nats-server", "nats", announces_joins=False),
    NodePeer("ws", "room", announces_joins=True, folder="ws_node", package="ws"),
    NodePeer("socket.io", "socketio", announces_joins=True, folder="socketio_node", package="socket.io"),
    PythonPeer(
        "websockets",
        "room",
        announces_joins=True,
        script="websockets_broadcast.py",
        distributions=("websockets", "uvloop"),
    ),
    PythonPeer(
        "fastapi",
        "room",
        announces_joins=True,
        script="fastapi_room.py",
        distributions=("fastapi", "uvicorn", "websockets", "uvloop", "httptools"),
    ),
    PythonPeer(
        "python-socketio",
        "socketio",
        announces_joins=True,
        script="socketio_python.py",
        distributions=("python-socketio", "uvicorn", "websockets", "uvloop", "httptools"),
    ),
)
