"""Checks shared documents against their peers in one run: `make bench ARGS="--check documents"`.

It prints each figure as `name value bar`, and remarks in lines that begin with `#`. A figure `…-to-best-peer` is
divided by that of the best peer. A delivery is one edit that reached one other editor, also if the server has merged it
with others. CPU and memory are those of all processes of a server: of Studyroom the gateway, NATS, the documents
service, presence and the provisioner.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import documents_report
from benchmarks.generator import BUSY, Failed, Generator, Outcome
from benchmarks.home import Figure, none_short, remark
from benchmarks.medians import OURS
from benchmarks.servers import Running, Server, running
from benchmarks.shapes import Row
from benchmarks.trace import long_text

_DOCUMENTS, _EDITORS, _RATE = 100, 8, 5
_LIGHT_DOCUMENTS = 10
_IDLE_DOCUMENTS = 2000
_IDLE_SECONDS = 45.0
"""Longer than servers keep working on edits that were made before."""
_OPENS = 60
_LEAST_SHARE, _MOST_SHARE = 0.9, 1.1
"""A server that delivers a smaller share of the edits while they are made is too busy to be compared, and so is one
that delivers more, because it still had edits of the time before."""


@dataclass(frozen=True)
class Bar:
    name: str
    shape: str
    key: str
    bar: float
    to_peer: bool = False


LOADED = f"{_DOCUMENTS} documents of {_EDITORS}, {_RATE}/s each"
LIGHT = f"{_LIGHT_DOCUMENTS} documents of {_EDITORS}, {_RATE}/s each"
OPEN = "opening a long document"
IDLE = f"{_IDLE_DOCUMENTS:,} idle documents"

BARS = (
    Bar("documents-cpu-to-best-peer", LOADED, "cpu_us_per_delivery", 0.6, to_peer=True),
    *(
        Bar(f"{prefix}-{what}-{quantile}-ms", shape, f"{what}_{quantile}_ms", bar)
        for prefix, shape in (("documents", LOADED), ("documents-light", LIGHT))
        for what in ("stored", "seen")
        for quantile, bar in (("p50", 5.0), ("p99", 20.0))
    ),
    Bar("documents-open-to-best-peer", OPEN, "open_p50_ms", 1.5, to_peer=True),
    Bar("documents-idle-kb-to-best-peer", IDLE, "kb_per_document", 1.0, to_peer=True),
)


@dataclass
class Check:
    directory: Path
    generator: Generator
    seconds: float
    repeats: int
    servers: list[Server]
    save: bool = False
    """Write the section of RESULTS.md."""
    rows: dict[tuple[str, str], list[Row]] = field(default_factory=lambda: defaultdict(list))
    """Rows by shape and server."""

    def run(self) -> bool:
        """Measure everything. Return whether nothing fell short."""
        began = time.monotonic()
        versions = {server.name: server.version() for server in self.servers}
        for name, version in versions.items():
            remark(f"{name}: {version}")
        state = self.directory / "long-text"
        state.write_bytes(long_text())
        for repeat in range(self.repeats):
            first = repeat % len(self.servers)
            for server in self.servers[first:] + self.servers[:first]:
                self._measure(server, state)
            remark(f"{(time.monotonic() - began) / 60:.1f} min")
        figures = [self._figure(bar) for bar in BARS]
        for figure in figures:
            print(figure, flush=True)
        if self.save:
            about = (
                f'Written by `make bench ARGS="--check documents"` on {time.strftime("%Y-%m-%d")}: medians of '
                f"{self.repeats}, in one run of {(time.monotonic() - began) / 60:.0f} minutes."
            )
            documents_report.write(about, versions, figures, self.rows, (LOADED, LIGHT), (OPEN, IDLE))
        return none_short(figures)

    def _figure(self, bar: Bar) -> Figure:
        ours = self._middle(bar, OURS)
        if ours is None or not bar.to_peer:
            return Figure(bar.name, bar.bar, ours)
        peers = {server.name: self._middle(bar, server.name) for server in self.servers if server.name != OURS}
        found = [(value, name) for name, value in peers.items() if value is not None]
        if not found:
            return Figure(bar.name, bar.bar, None)
        best, name = min(found)
        remark(f"{bar.name}: {ours:.4g} against {best:.4g} of {name}, at most {bar.bar:g}")
        return Figure(bar.name, bar.bar, ours / best)

    def _middle(self, bar: Bar, server: str) -> float | None:
        rows = self.rows[bar.shape, server]
        return median(row[bar.key] for row in rows) if rows else None

    # --- measurements -------------------------------------------------------------------------------------

    def _measure(self, server: Server, state: Path) -> None:
        """Measure all shapes with one server, started afresh for its idle documents."""
        self._trying(server, lambda at: self._busy(server, at, state))
        self._trying(server, lambda at: self._note(IDLE, server, lambda: self._idle(server, at)))

    def _trying(self, server: Server, measure: Callable[[Running], None]) -> None:
        try:
            with running(server, self.directory) as at:
                measure(at)
        except Failed as error:
            remark(f"{server.name} failed: {error}")

    def _busy(self, server: Server, at: Running, state: Path) -> None:
        self._note(OPEN, server, lambda: self._open(server, at, state))
        self._note(LIGHT, server, lambda: self._traffic(server, at, _LIGHT_DOCUMENTS))
        self._note(LOADED, server, lambda: self._traffic(server, at, _DOCUMENTS))

    def _note(self, shape: str, server: Server, measure: Callable[[], Row]) -> None:
        try:
            row = measure()
        except Failed as error:
            remark(f"{shape}, {server.name}: failed: {error}")
            return
        self.rows[shape, server.name].append(row)
        remark(f"{shape}, {server.name}: {row.pop('gist')}")

    def _generate(self, server: Server, at: Running, **options: object) -> Outcome:
        dialect = OURS if server.name == OURS else server.dialect
        outcome = self.generator.run(dialect, at.ports, at.pids, **options)
        wrong = {name: outcome.seen[name] for name in _FAULTS if outcome.seen[name]}
        if wrong:
            raise Failed(f"{wrong} {outcome.seen.get('said', '')}")
        return outcome

    def _traffic(self, server: Server, at: Running, documents: int) -> Row:
        outcome = self._generate(
            server, at, mode="traffic", documents=documents, editors=_EDITORS, rate=_RATE, seconds=self.seconds
        )
        seen = outcome.seen
        share = seen["received"] / max(1, seen["sent"] * (_EDITORS - 1))
        if not _LEAST_SHARE <= share <= _MOST_SHARE:
            raise Failed(f"{share:.0%} of the edits reached the others in time")
        row: Row = {"cpu_us_per_delivery": outcome.cpu_us_per_delivery}
        for what in ("stored", "seen"):
            for quantile in ("p50", "p99"):
                row[f"{what}_{quantile}_ms"] = seen[f"{what}_{quantile}_us"] / 1000
        row["us_by_process"] = {name: cpu * 1e6 / seen["received"] for name, cpu in outcome.cpu_seconds.items()}
        parts = ", ".join(f"{name} {us:.2f}" for name, us in row["us_by_process"].items())
        generator = seen["generator_cpu"] / seen["seconds"]
        row["gist"] = (
            f"{row['cpu_us_per_delivery']:.2f} us per delivery ({parts}), {outcome.deliveries_per_second:,.0f}/s, "
            f"{seen['received'] / max(1, seen['frames']):.2f} for each frame, "
            f"acknowledged after {row['stored_p50_ms']:.1f} and {row['stored_p99_ms']:.1f} ms, "
            f"seen after {row['seen_p50_ms']:.1f} and {row['seen_p99_ms']:.1f} ms; "
            f"generator {generator:.0%}{' busy' if generator > BUSY else ''}"
        )
        return row

    def _open(self, server: Server, at: Running, state: Path) -> Row:
        outcome = self._generate(server, at, mode="open", opens=_OPENS, state=state)
        seen = outcome.seen
        parts = f"{sum(outcome.cpu_seconds.values()) * 1000 / seen['opens']:.1f} ms of CPU each"
        return {
            "open_p50_ms": seen["open_p50_ms"],
            "parts": parts,
            "gist": f"{seen['state_bytes']:,} bytes after {seen['open_p50_ms']:.1f} ms, "
            f"p99 {seen['open_p99_ms']:.1f} ms, {parts}",
        }

    def _idle(self, server: Server, at: Running) -> Row:
        outcome = self._generate(server, at, mode="idle", documents=_IDLE_DOCUMENTS, settle=_IDLE_SECONDS)
        before, after = outcome.seen["resident_before_kb"], outcome.seen["resident_kb"]
        grown: dict[str, float] = defaultdict(float)
        for pid in after:
            grown[at.pids[int(pid)]] += (after[pid] - before[pid]) / _IDLE_DOCUMENTS
        parts = ", ".join(f"{name} {kb:.2f}" for name, kb in grown.items())
        return {
            "kb_per_document": sum(grown.values()),
            "parts": parts,
            "gist": f"{sum(grown.values()):.2f} KB for each document with one editor ({parts})",
        }


_FAULTS = ("disordered", "foreign", "broken", "refused", "ends", "missing", "lost")
"""Counts of the generator that must be 0 for every server: edits out of order, of other documents, damaged, refused or
missing, lost connections, and acknowledged edits that the document lacks in the end."""
