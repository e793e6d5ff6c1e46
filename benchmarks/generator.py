"""The load generators, built from `load/` and run on cores of their own."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SOURCES = Path(__file__).parent / "load"
SERVER_CORE = 0
_PROCESSES_MAX = 2
BUSY = 0.9
"""A generator that takes a larger share of a core may be what is measured. Such a run is marked."""
_TIMEOUT_SECONDS = 420.0


class GeneratorMissing(Exception):
    """There is no C compiler. `str()` explains how to install one."""


class Failed(Exception):
    """The server did not behave as the shape requires. `str()` has the reason."""


@dataclass(frozen=True)
class Outcome:
    """The result of the generator, see its source, and CPU seconds and resident memory by process name."""

    seen: Mapping[str, Any]
    cpu_seconds: Mapping[str, float]

    @property
    def cpu_us_per_delivery(self) -> float:
        return float(sum(self.cpu_seconds.values()) * 1e6 / max(1, self.seen["received"]))

    @property
    def deliveries_per_second(self) -> float:
        return float(self.seen["received"] / self.seen["seconds"])

    def resident_kb(self, when: str = "resident_kb") -> int:
        return int(sum(self.seen[when].values()))


def generator_cores(available: Iterable[int]) -> list[int]:
    """Return the cores of the generator's processes: two, or one where there is only one beside the server's core."""
    others = [core for core in sorted(available) if core != SERVER_CORE]
    return others[:_PROCESSES_MAX] or [SERVER_CORE]


class Generator:
    def __init__(self, directory: Path, cores: list[int] | None = None, *, source: str = "load.c") -> None:
        """Build the generator, which runs on `cores`. Raises GeneratorMissing."""
        self.cores = cores or generator_cores(os.sched_getaffinity(0))
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise GeneratorMissing("the load generator needs a C compiler: apt-get install gcc libc6-dev")
        self._program = directory / Path(source).stem
        subprocess.run(
            [compiler, "-O2", "-Wall", "-std=gnu11", "-o", str(self._program), str(_SOURCES / source)],
            check=True,
        )

    def run(self, dialect: str, ports: list[int], pids: Mapping[int, str], **options: object) -> Outcome:
        """Run the generator. `pids`: the server's processes with their names, for CPU and memory. Raises Failed."""
        words = [str(self._program), "--dialect", dialect, "--ports", ",".join(map(str, ports))]
        words += ["--pids", ",".join(map(str, pids)), "--cores", ",".join(map(str, self.cores))]
        for name, value in options.items():
            number = int(value) if isinstance(value, bool) else value
            words += [f"--{name.replace('_', '-')}", str(number)]
        try:
            done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Failed("no end in time") from error
        if done.returncode:
            raise Failed(" / ".join(done.stderr.strip().splitlines()) or f"status {done.returncode}")
        seen: dict[str, Any] = json.loads(done.stdout)
        cpu: dict[str, float] = {}
        for pid, seconds in seen.pop("cpu").items():
            cpu[pids[int(pid)]] = cpu.get(pids[int(pid)], 0.0) + seconds
        if done.stderr:
            seen["said"] = done.stderr.strip()
        return Outcome(seen, cpu)
