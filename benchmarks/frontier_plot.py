"""Draws the frontier: age of the newest over deliveries for each second of CPU, with a line for each server."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.medians import LIMIT, OURS, Table, failure, mid, peers
from benchmarks.shapes import BIG_ROOM, CALM_ROOMS, STUDY_ROOMS, Traffic

PANELS: tuple[tuple[str, Sequence[Traffic]], ...] = (
    ("big room of 500: 20, 100 and 400 messages/s", BIG_ROOM),
    ("100 study rooms of 8: 2, 5 and 10 Hz", (CALM_ROOMS, *STUDY_ROOMS)),
)
_COLORS = {OURS: "#2a7f62", LIMIT: "#111111"}
_OTHERS = ("#c0504d", "#4f81bd", "#8064a2", "#d99030", "#5aa5b5", "#a08a60", "#b9c0c7", "#7a8a99", "#cc79a7", "#999933")
Point = tuple[float, float]


def line_of(name: str, loads: Iterable[Traffic], table: Table, age: str) -> list[Point]:
    """Return a server's deliveries for each second of CPU and the age of its newest in ms, for each load.

    `age`: `p50_us` or `p99_us`. A load that the server failed, or did not deliver, has no point.
    """
    points = []
    for shape in loads:
        servers = table[shape.name]
        rows = servers.get(name, [])
        value, cpu = mid(rows, age), mid(rows, "cpu_us_per_delivery")
        delivered = name in {OURS, LIMIT} or name in {peer for _, peer in peers(servers, age)}
        if failure(rows) is None and value is not None and cpu and delivered:
            points.append((1e6 / cpu, max(value, 0.05)))
    return points


def write(path: Path, table: Table) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "studyroom"
    mpl.rcParams["svg.fonttype"] = "none"  # text, not outlines
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, 5.2), sharey=True)
    names = _names(table)
    colors = dict(zip((name for name in names if name not in _COLORS), _OTHERS, strict=False)) | _COLORS
    for axis, (title, loads) in zip(axes, PANELS, strict=True):
        for name in names:
            _draw(axis, name, loads, table, colors.get(name, _OTHERS[-1]))
        axis.set(xscale="log", yscale="log", title=title, xlabel="deliveries for each second of CPU, thousands")
        for scale, number in ((axis.xaxis, lambda x, _: f"{x / 1000:g}"), (axis.yaxis, lambda y, _: f"{y:g}")):
            scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
            scale.set_major_formatter(FuncFormatter(number))
            scale.set_minor_formatter(NullFormatter())
        axis.grid(visible=True, alpha=0.3)
        axis.annotate("better", (0.99, 0.01), (0.9, 0.1), "axes fraction", arrowprops={"arrowstyle": "->"}, fontsize=9)
    axes[0].set_ylabel("age of the newest, ms (line: p50, dashes: p99)")
    if names:
        axes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _names(table: Table) -> list[str]:
    """Return the servers with a line: ours, the limit that does not collect, and the peers."""
    found = {name for _, loads in PANELS for shape in loads for name in table[shape.name]}
    others = sorted(name for name in found if not name.startswith((OURS, LIMIT)))
    return [name for name in (OURS, LIMIT) if name in found] + others


def _draw(axis: Any, name: str, loads: Sequence[Traffic], table: Table, color: str) -> None:
    width = 2.5 if name in _COLORS else 1.2
    for age, style in (("p50_us", "-"), ("p99_us", "--")):
        points = line_of(name, loads, table, age)
        label = name if age == "p50_us" else None
        axis.plot(
            *(zip(*points, strict=True) if points else ((), ())),
            color=color,
            linewidth=width if age == "p50_us" else width / 2,
            linestyle=style,
            marker="o",
            markersize=3,
            label=label,
        )
