"""A peer: its requirements, how to build and start it, and its wire protocol (README.md has the protocols)."""

import resource
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Dialect = Literal["room", "socketio", "centrifugo", "nchan", "nats", "y-websocket", "hocuspocus"]

HERE = Path(__file__).resolve().parent
BUILT = HERE / ".built"
"""Compiled programs, kept between runs."""

PATHS: dict[Dialect, str] = {
    "room": "/ws?username={username}",
    "socketio": "/socket.io/?EIO=4&transport=websocket&username={username}",
    "centrifugo": "/connection/websocket",
    "nchan": "/ws/{room}",
    "nats": "/",
    "y-websocket": "/{room}",
    "hocuspocus": "/",
}


class NotBuilt(Exception):
    """A peer could not be compiled. `str()` has the end of the compiler's output."""


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

    @property
    def echoes_cursor(self) -> bool:
        """Whether authors get their own cursors."""
        return self.dialect in {"centrifugo", "nchan"}

    @property
    def echoes_chat(self) -> bool:
        """Whether authors get their own chat."""
        return self.dialect != "nats"

    @abstractmethod
    def missing(self) -> str | None:
        """Return the command that installs the requirements, for the repository's root; None if not needed."""

    @abstractmethod
    def version(self) -> str:
        """Return the installed version. Call this only if nothing is missing and the peer is prepared."""

    def prepare(self) -> None:  # noqa: B027 - most have nothing to build
        """Compile the peer, which is quick if nothing has changed. Raises NotBuilt."""

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


def quiet(announce_joins: bool) -> list[str]:
    return [] if announce_joins else ["--quiet-joins"]


def open_files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def write_config(template: str, directory: Path, values: Mapping[str, object]) -> Path:
    text = (HERE / template).read_text()
    directory = directory.resolve()
    for name, value in {**values, "DIRECTORY": directory}.items():
        text = text.replace(f"@{name}@", str(value))
    path = directory / Path(template).name
    path.write_text(text)
    return path


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def debian_version(package: str) -> str:
    return output_of("dpkg-query", "--show", "--showformat=${Version}", package)
