"""The peers that are compiled on this machine, by `prepare`, if their toolchain is there."""

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .peer import BUILT, HERE, NotBuilt, Peer, output_of, quiet, write_config

CENTRIFUGO = "github.com/centrifugal/centrifugo/v6"
CENTRIFUGO_VERSION = "v6.9.1"
_OUTPUT_LINES = 5


def _build(command: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a compiler. Raises NotBuilt."""
    BUILT.mkdir(exist_ok=True)
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise NotBuilt(" / ".join(done.stderr.strip().splitlines()[-_OUTPUT_LINES:]) or f"status {done.returncode}")


@dataclass(frozen=True)
class AxumPeer(Peer):
    """One of the two servers in `axum/`. The first build takes a minute of CPU."""

    program: str
    echoing: bool = False

    @property
    def echoes_cursor(self) -> bool:
        return self.echoing

    def missing(self) -> str | None:
        return None if shutil.which("cargo") else "Rust, see https://rustup.rs"

    def version(self) -> str:
        lock = tomllib.loads((HERE / "axum" / "Cargo.lock").read_text())
        versions = {package["name"]: package["version"] for package in lock["package"]}
        crates = ", ".join(f"{crate} {versions[crate]}" for crate in ("axum", "tokio", "tungstenite"))
        return f"{crates}, {' '.join(output_of('rustc', '--version').split()[:2])}"

    def prepare(self) -> None:
        manifest = HERE / "axum" / "Cargo.toml"
        _build(
            ["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest), "--bin", self.program],
            {"CARGO_TARGET_DIR": str(BUILT / "axum")},
        )

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del directory
        return [str(BUILT / "axum" / "release" / self.program), "--port", str(port), *quiet(announce_joins)]


@dataclass(frozen=True)
class CentrifugoPeer(Peer):
    """The published module. The first build takes four minutes of CPU."""

    def missing(self) -> str | None:
        return None if shutil.which("go") else "Go 1.26, see https://go.dev/dl"

    def version(self) -> str:
        return f"centrifugo {CENTRIFUGO_VERSION}, {output_of('go', 'version', str(self._program)).split()[-1]}"

    def prepare(self) -> None:
        if not self._program.exists():
            _build(["go", "install", f"{CENTRIFUGO}@{CENTRIFUGO_VERSION}"], {"GOBIN": str(self._program.parent)})

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        values = {"PORT": port, "JOINS": json.dumps(announce_joins)}
        config = write_config("centrifugo/config.json", directory, values)
        return [str(self._program), "--config", str(config)]

    @property
    def _program(self) -> Path:
        return BUILT / f"centrifugo-{CENTRIFUGO_VERSION}" / "centrifugo"


@dataclass(frozen=True)
class LimitPeer(Peer):
    """The C program that does only what every room server has to do: as fast as this machine can be."""

    collect_ms: float = 0.0

    def collecting(self, ms: float) -> "LimitPeer":
        """Return the one that collects for `ms` milliseconds before it sends."""
        return replace(self, name=f"{self.name}, {ms:g} ms", collect_ms=ms)

    def missing(self) -> str | None:
        return None if shutil.which("cc") else "apt-get install gcc libc6-dev"

    def version(self) -> str:
        return output_of("cc", "--version").splitlines()[0]

    def prepare(self) -> None:
        source = HERE / "limit_c" / "limit.c"
        _build(["cc", "-O2", "-Wall", "-Wextra", "-std=gnu11", "-o", str(self._program), str(source)])

    def command(self, port: int, directory: Path, *, announce_joins: bool = True) -> list[str]:
        del directory, announce_joins
        return [str(self._program), "--port", str(port), "--collect", f"{self.collect_ms:g}"]

    @property
    def _program(self) -> Path:
        return BUILT / "limit"
