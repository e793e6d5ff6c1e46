"""Measures Studyroom and its peers in one interleaved run, and writes the results: `make bench`."""

import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from benchmarks import report, shapes
from benchmarks.generator import Failed, Generator, GeneratorMissing
from benchmarks.peers import PEERS
from benchmarks.servers import Other, Running, Server, Studyroom, running
from benchmarks.shapes import Row, Traffic

RESULTS = Path(__file__).parent / "results.json"
GROUPS = ("traffic", "saturation", "idle", "storm", "growth", "gateways", "chat", "stalled")
_IDLE_CONNECTIONS = (5_000, 19_000)
_STORM_MEMBERS = 2_000
_STORM_SECONDS = 45.0
_RARE_SECONDS = 30.0


@dataclass
class Bench:
    directory: Path
    generator: Generator
    servers: list[Server]
    seconds: float
    rows: list[Row] = field(default_factory=list)
    _failed: set[tuple[str, str]] = field(default_factory=set)

    def note(self, server: Server, shape: str, repeat: int, measure: Callable[[], Row]) -> Row | None:
        """Measure once. Return None after a failure."""
        row: Row = {"server": server.name, "shape": shape, "repeat": repeat}
        try:
            row |= measure()
        except Failed as error:
            row["failed"] = str(error)
            self._failed.add((server.name, shape))
        self.rows.append(row)
        print(f"  {shape:<36} {server.name:<22} {_gist(row)}", flush=True)
        return None if "failed" in row else row

    # --- groups -------------------------------------------------------------------------------------------

    def traffic(self, repeat: int) -> None:
        for server in self.servers:
            with running(server, self.directory) as at:
                for shape in (*shapes.BIG_ROOM, *shapes.STUDY_ROOMS):
                    self._traffic(server, at, shape, repeat)

    def _traffic(self, server: Server, at: Running, shape: Traffic, repeat: int) -> Row | None:
        if (server.name, shape.name) in self._failed:
            return None
        return self.note(server, shape.name, repeat, lambda: shape.measure(self.generator, server, at, self.seconds))

    def saturation(self, repeat: int) -> None:
        for server in self.servers:
            ladders = ((shapes.big_room_at, 60.0), (shapes.study_rooms_of, 12.0))
            for step, first in ladders:
                with running(server, self.directory) as at:
                    self._climb(server, at, step, first, repeat)

    def _climb(self, server: Server, at: Running, step: Callable[[float], Traffic], first: float, repeat: int) -> None:
        def measure(traffic: Traffic) -> Row:
            return traffic.measure(self.generator, server, at, self.seconds)

        def best() -> Row:
            steps = list(shapes.climb(step, first, measure, conflates=server.conflates))
            if not steps:
                raise Failed("did not keep up with the first step")
            return {
                **steps[-1],
                "ladder": [[row["size"], row["deliveries_per_second"], row["p99_us"]] for row in steps],
            }

        self.note(server, step(first).name, repeat, best)

    def idle(self, repeat: int) -> None:
        for server in self.servers:
            for connections in _IDLE_CONNECTIONS:
                self.note(server, f"idle, {connections}", repeat, lambda s=server, n=connections: self._idle(s, n))  # type: ignore[misc]

    def _idle(self, server: Server, connections: int) -> Row:
        with running(server, self.directory) as at:
            outcome = self.generator.run(
                server.dialect,
                at.ports,
                at.pids,
                mode="idle",
                connections=connections,
                settle=3,
                leave=True,
                timeout=120,
            )
        before, during = outcome.seen["resident_before_kb"], outcome.seen["resident_kb"]
        per_process = {at.pids[int(pid)]: (during[pid] - before[pid]) / connections for pid in during}
        gateway = per_process.get("gateway", sum(per_process.values()))
        return {
            "kb_per_connection": gateway,
            "kb_by_process": per_process,
            "after_kb_per_connection": (outcome.resident_kb("resident_after_kb") - sum(before.values())) / connections,
            "seconds_to_open": outcome.seen["seconds"],
        }

    def storm(self, repeat: int) -> None:
        for server in self.servers:
            if server.announces_joins and (server.name, "join storm, 2,000") not in self._failed:
                self.note(server, "join storm, 2,000", repeat, lambda s=server: self._storm(s))  # type: ignore[misc]

    def _storm(self, server: Server) -> Row:
        with running(server, self.directory, storm=True) as at:
            outcome = self.generator.run(
                server.dialect, at.ports, at.pids, mode="storm", members=_STORM_MEMBERS, timeout=_STORM_SECONDS
            )
        seen = outcome.seen
        if seen["refused"] or seen["ends"] or not seen["complete"]:
            known = seen["known"] / _STORM_MEMBERS**2
            raise Failed(
                f"{known:.0%} known after {seen['seconds']:.0f} s, {seen['ends']} ended, {seen['refused']} refused"
            )
        return {
            "seconds": seen["seconds"],
            "joined_seconds": seen["joined_seconds"],
            "cpu_seconds": sum(outcome.cpu_seconds.values()),
        }

    def growth(self, repeat: int) -> None:
        server = Studyroom()
        with running(server, self.directory) as at:
            for shape in shapes.GROWTH:
                self._traffic(server, at, shape, repeat)

    def gateways(self, repeat: int) -> None:
        for count in (1, 2):
            server = Studyroom(name=f"studyroom, {count} gateways", gateways=count)
            with running(server, self.directory) as at:
                for shape in shapes.STUDY_ROOMS:
                    self._traffic(server, at, shape, repeat)

    def chat(self, repeat: int) -> None:
        """Measure chat between two gateways."""
        server = Studyroom(name="studyroom, 2 gateways", gateways=2)
        with running(server, self.directory) as at:
            for rate, shape in zip(shapes.CHAT_RATES, shapes.CHAT, strict=True):
                # At a low rate it takes longer to see enough messages for the slowest of a hundred.
                seconds = max(self.seconds, min(_RARE_SECONDS, 1000 / rate))
                self.note(
                    server,
                    shape.name,
                    repeat,
                    lambda shape=shape, seconds=seconds: shape.measure(self.generator, server, at, seconds),  # type: ignore[misc]
                )

    def stalled(self, repeat: int) -> None:
        """Measure a room of 500 members, of which one reads nothing."""
        server = Studyroom()
        for stalled in (0, 1):
            shape = Traffic(f"big room, 100/s, {stalled} stalled", 1, 500, 1, 100, "chat", stalled=stalled)
            with running(server, self.directory) as at:
                self._traffic(server, at, shape, repeat)


def _gist(row: Row) -> str:
    if "failed" in row:
        return f"failed: {row['failed'][:100]}"
    if "cpu_us_per_delivery" in row:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in row["cpu_share"].items())
        return (
            f"{row['cpu_us_per_delivery']:7.2f} us/delivery  {row['deliveries_per_second']:9.0f}/s  "
            f"p50 {row['p50_us']:.1f} p99 {row['p99_us']:.1f} ms  {row['received_share']:.0%} of those due  "
            f"({shares}; generator {row['generator_share']:.0%})"
        )
    return ", ".join(f"{key} {value:.2f}" for key, value in row.items() if isinstance(value, float))


@click.command()
@click.option("--seconds", default=5.0, show_default=True, help="Seconds per measurement.")
@click.option("--repeats", default=3, show_default=True, help="Measurements for each median.")
@click.option("--only", multiple=True, help="Name of a server. You can repeat the option.")
@click.option(
    "--groups", default=",".join(GROUPS), show_default=True, help="Groups to measure. `idle:1` is measured once."
)
@click.option("--save/--no-save", default=True, show_default=True, help="Write RESULTS.md.")
def main(seconds: float, repeats: int, only: tuple[str, ...], groups: str, save: bool) -> None:
    """Compare Studyroom with its peers. Nothing else should run meanwhile."""
    directory = Path(tempfile.mkdtemp(prefix="studyroom-bench-"))
    try:
        generator = Generator(directory)
    except GeneratorMissing as error:
        raise click.ClickException(str(error)) from error
    servers = list(_available(directory, only))
    bench = Bench(directory, generator, servers, seconds)
    began = time.monotonic()
    for group, _, times in (part.partition(":") for part in groups.split(",")):
        for repeat in range(int(times or repeats)):
            print(f"{group}, {repeat + 1} of {times or repeats}, {(time.monotonic() - began) / 60:.0f} min", flush=True)
            getattr(bench, group)(repeat)
            if save:
                # Each time, so that a run that is ended early is not lost.
                results = {"about": _about(seconds, repeats, began), "rows": bench.rows}
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                report.write(results)


def _available(directory: Path, only: tuple[str, ...]) -> Iterable[Server]:
    everyone: list[Server] = [Studyroom(), *(Other(peer) for peer in PEERS)]
    for server in everyone:
        if only and server.name not in only:
            continue
        line = server.missing()
        if line is not None:
            print(f"{server.name} is skipped; it needs: {line}")
            continue
        server.prepare(directory)
        yield server


def _about(seconds: float, repeats: int, began: float) -> dict[str, Any]:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": model,
        "python": platform.python_version(),
        "seconds": seconds,
        "repeats": repeats,
        "minutes": round((time.monotonic() - began) / 60),
    }


if __name__ == "__main__":
    main()
