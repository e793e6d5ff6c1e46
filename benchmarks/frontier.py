"""Checks cost and age of the newest against the best peers and the limit: `make bench ARGS="--check frontier"`.

It prints each figure as `name value bar`, and remarks in lines that begin with `#`. `bars` has the bars, and says of
which ones more is better. A figure `…-to-best-peer` is divided by that of the best peer, and `…-to-limit` by that of
the limit that collects for so long that its newest are as old as those of Studyroom, all in the same run.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import bars, shapes
from benchmarks.bars import BARS, Bar, Value
from benchmarks.bench import Bench
from benchmarks.generator import BUSY, Generator
from benchmarks.home import Figure, none_short, remark
from benchmarks.medians import AS_OLD, LIMIT, OURS, Table, by_shape, mid, peers
from benchmarks.peers import LIMIT as LIMIT_PEER
from benchmarks.servers import Other, Server, running
from benchmarks.shapes import Row, Traffic

CONTENDERS = ("bun", "axum", "centrifugo", LIMIT)
"""The peers that are ahead of all others somewhere, or near it, and the limit."""
GROUPS = ("traffic", "saturation", "storm", "idle", "pinged", "quiet_chat")
_NEAR = 1.3
"""After the first repeat, only peers within this factor of the best one are measured again."""
_TRIES = 3
_SAME_SHARE, _SAME_MS = 0.1, 0.2
"""Ages that differ by no more than one of these count as the same."""
_AGE_OF_COLLECTED = 0.55
"""About the share of the time of collecting that half of the messages have waited."""
_COLLECT_MS_MAX = 200.0


class LeastFigure(Figure):
    """A figure that must be at least its bar."""

    @property
    def short(self) -> bool:
        return self.value is None or self.value < self.bar


@dataclass
class Check:
    directory: Path
    generator: Generator
    seconds: float
    repeats: int
    servers: list[Server]
    groups: Sequence[str] = GROUPS
    figures: list[Figure] = field(default_factory=list)

    def run(self) -> bool:
        """Measure everything. Return whether nothing fell short."""
        began = time.monotonic()
        bench = Bench(self.directory, self.generator, self.servers, self.seconds, indent="# ", idle_few=False)
        for repeat in range(self.repeats):
            for group in self.groups:
                bench.servers = self._still_measured(group, by_shape(bench.rows)) if repeat else self.servers
                getattr(bench, group)(repeat)
                if group == "traffic":
                    self._as_old(bench, repeat)
                remark(f"{(time.monotonic() - began) / 60:.1f} min")
        self._report(by_shape(bench.rows))
        busy = {(row["shape"], row["server"]) for row in bench.rows if row.get("generator_share", 0.0) > BUSY}
        for shape, server in sorted(busy):
            remark(f"the generator took over {BUSY:.0%} of a core: {shape}, {server}")
        return none_short(self.figures)

    def _report(self, table: Table) -> None:
        for bar in BARS:
            if bar.group not in self.groups:
                continue
            value = bars.value_of(bar, table)
            make = LeastFigure if bar.least else Figure
            figure = make(bar.name, bar.bar, None if value is None else value.counted)
            self.figures.append(figure)
            print(figure, flush=True)
            if value is not None and value.against is not None:
                remark(f"{bar.name}: {_explained(bar, value)}")
        rooms = table[bars.STUDY_SATURATION]
        ours, limit = (mid(rooms.get(name, []), "size") for name in (OURS, LIMIT))
        if ours and limit:
            remark(f"{bars.STUDY_SATURATION}: {ours:.0f} rooms, and {limit:.0f} at the limit")

    def _still_measured(self, group: str, table: Table) -> list[Server]:
        """Return ours and the peers that can still be the best, and the limit where it is needed again."""
        keys = {(bar.shape, bar.key, bar.least) for bar in BARS if bar.group == group and bar.measure == "peer"}
        names = {OURS} | ({LIMIT} if group == "traffic" else set())
        for shape, key, least in keys:
            names |= near_best(peers(table[shape], key), least=least)
        return [server for server in self.servers if server.name in names]

    # --- the limit at the same age ------------------------------------------------------------------------

    def _as_old(self, bench: Bench, repeat: int) -> None:
        """Measure the limit, where its newest is as old as ours was in this repeat."""
        if not any(server.name == LIMIT for server in bench.servers):
            return
        wanted = {bar.shape for bar in BARS if bar.measure == "limit"}
        table = by_shape(row for row in bench.rows if row["repeat"] == repeat)
        for shape in shapes.TRAFFIC:
            age, at_once = (mid(table[shape.name][name], "p50_us") for name in (OURS, LIMIT))
            if shape.name in wanted and age is not None and at_once is not None:
                self._as_old_as(bench, shape, repeat, age, at_once)

    def _as_old_as(self, bench: Bench, shape: Traffic, repeat: int, age: float, at_once: float) -> None:
        def measure(collect_ms: float) -> Row:
            server = Other(replace(LIMIT_PEER, collect_ms=collect_ms))
            with running(server, self.directory) as at:
                return shape.measure(bench.generator, server, at, bench.seconds) | {"collect_ms": collect_ms}

        def nearest() -> Row:
            tried: list[Row] = []
            while len(tried) < _TRIES:
                tried.append(
                    measure(next_collect_ms(age, at_once, [(row["collect_ms"], row["p50_us"]) for row in tried]))
                )
                if same_age(tried[-1]["p50_us"], age) or not tried[-1]["collect_ms"]:
                    break
            return min(tried, key=lambda row: abs(row["p50_us"] - age))

        row = bench.note(Other(replace(LIMIT_PEER, name=AS_OLD)), shape.name, repeat, nearest)
        if row is not None:
            remark(f"{shape.name}: half of the limit's are {row['p50_us']:.1f} ms old at {row['collect_ms']:.1f} ms")


def near_best(found: list[tuple[float, str]], *, least: bool) -> set[str]:
    """Return the names of the best and of those within 30 % of it. `least`: more is better."""
    if not found:
        return set()
    best = (max if least else min)(found)[0]
    return {name for value, name in found if (best / value if least else value / best) <= _NEAR}


def same_age(one: float, other: float) -> bool:
    """Return whether two ages in milliseconds are as good as the same."""
    return abs(one - other) <= max(_SAME_MS, _SAME_SHARE * other)


def next_collect_ms(age: float, at_once: float, tried: Sequence[tuple[float, float]]) -> float:
    """Return how long the limit should collect for the wanted age. All numbers are milliseconds.

    `at_once`: its age when it does not collect. `tried`: times of collecting, and the ages that came of them.
    """
    if age <= at_once or same_age(at_once, age):
        return 0.0
    if not tried:
        wanted = (age - at_once) / _AGE_OF_COLLECTED
    else:
        collected, got = tried[-1]
        grown = max(got - at_once, 0.25 * (age - at_once))
        wanted = collected * (age - at_once) / grown
    return min(wanted, _COLLECT_MS_MAX)


def _explained(bar: Bar, value: Value) -> str:
    wanted = "at least" if bar.least else "at most"
    return f"{value.ours:.4g} against {value.against or 0:.4g} of {value.whom}, {wanted} {bar.bar:g}"
