"""Writes RESULTS.md and its plot from the measurements."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.shapes import BIG_ROOM, CHAT, GROWTH, QUIET_CHAT, STUDY_ROOMS, Row

HERE = Path(__file__).parent
OURS = "studyroom"
_DELIVERED_SHARE = 0.97
"""A server that delivers a smaller share of the due messages is not compared, because dropping messages is cheap."""
Results = dict[str, Any]
Table = dict[str, dict[str, list[Row]]]
"""Rows by shape and server."""


def write(results: Results) -> None:
    table = _by_shape(results["rows"])
    (HERE / "RESULTS.md").write_text("\n".join(_lines(results["about"], table)) + "\n")
    _plot(table)


def _by_shape(rows: Iterable[Row]) -> Table:
    table: Table = defaultdict(lambda: defaultdict(list))
    for row in rows:
        table[row["shape"]][row["server"]].append(row)
    return table


def _mid(rows: Iterable[Row], key: str) -> float | None:
    values = [row[key] for row in rows if key in row]
    return median(values) if values else None


def _lines(about: dict[str, Any], table: Table) -> list[str]:
    lines = [
        "# Results",
        "",
        f"Written by `make bench` on {about['date']}: {about['machine']}, Python {about['python']}, medians of up to "
        f"{about['repeats']} of {about['seconds']:g} s each, all in one run of {about['minutes']} minutes.",
        "",
        "One core runs all processes of a server, and another the load generator. Compare figures within this page",
        "only, because repeated runs on machines of this kind differ by up to a third.",
        "",
        "CPU is user and system time of all processes of a server (of Studyroom: gateway, nats-server, presence),",
        "divided by the messages of others that clients received. nchan and Centrifuge also send a cursor back to",
        "its author, which does not count. Studyroom stores chat before it delivers it, and the others do not.",
        "Studyroom conflates cursors, so a delivery is an update with the newest cursor of a member, and the",
        "latency is the age of that cursor.",
        "",
        "![CPU per delivery](results.svg)",
        "",
        "## Studyroom against the best peer",
        "",
        *_bars(table),
    ]
    for shape in (*BIG_ROOM, *STUDY_ROOMS):
        lines += _traffic(shape.name, table[shape.name])
    lines += _saturation(table)
    lines += _idle(table)
    lines += _storm(table)
    lines += _ours_alone(table)
    return lines


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _spread(rows: Iterable[Row], key: str) -> str:
    values = [row[key] for row in rows if key in row]
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})" if values else "–"


def _is_ours_otherwise(name: str) -> bool:
    """Ours in another number than one; it has tables of its own."""
    return name != OURS and name.startswith(OURS)


def _failure(rows: list[Row]) -> str | None:
    return next((row["failed"] for row in rows if "failed" in row), None)


# --- tables ----------------------------------------------------------------------------------------------------


def _traffic(shape: str, servers: dict[str, list[Row]]) -> list[str]:
    if not servers:
        return []
    lines = [
        "",
        f"## {shape}",
        "",
        "| server | CPU µs per delivery (lowest–highest) | deliveries/s | of those due | p50 / p99 / p99.9 ms "
        "| deliveries per read | MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, rows in sorted(servers.items(), key=lambda item: _mid(item[1], "cpu_us_per_delivery") or 1e9):
        if not rows or _is_ours_otherwise(name):
            continue
        if (failure := _failure(rows)) is not None:
            lines.append(f"| {name} | failed: {failure} | | | | | |")
            continue
        share = _mid(rows, "received_share") or 0.0
        latency = " / ".join(_number(_mid(rows, key)) for key in ("p50_us", "p99_us", "p999_us"))
        lines.append(
            f"| {name} | {_spread(rows, 'cpu_us_per_delivery')} | {_number(_mid(rows, 'deliveries_per_second'), 0)} "
            f"| {share:.1%} | {latency} | {_number(_mid(rows, 'deliveries_per_read'))} "
            f"| {_number(_mid(rows, 'resident_mb'), 0)} |"
        )
    ours = servers.get(OURS, [])
    if ours and "cpu_us_by_process" in ours[0]:
        parts = {name: median(row["cpu_us_by_process"][name] for row in ours) for name in ours[0]["cpu_us_by_process"]}
        lines += ["", "Ours by process: " + ", ".join(f"{name} {value:.2f}" for name, value in parts.items()) + " µs."]
        sent, received = _mid(ours, "sent"), _mid(ours, "received")
        lines[-1] += f" {_number(sent, 0)} updates sent, {_number(received, 0)} received."
    return lines


def _saturation(table: Table) -> list[str]:
    lines = [
        "",
        "## Saturation",
        "",
        "The most with p99 under 100 ms and everything (of cursors the newest of everyone) delivered, within 14 %.",
        "",
        "| server | big room, deliveries/s | messages/s | study rooms at 20 Hz, rooms of 8 | deliveries/s |",
        "| --- | --- | --- | --- | --- |",
    ]
    big, study = table["big room, saturation"], table["study rooms, 20 Hz, saturation"]
    for name in sorted({*big, *study}, key=lambda name: -(_mid(big[name], "deliveries_per_second") or 0)):
        cells = [
            _number(_mid(rows[name], key), 0)
            for rows, key in (
                (big, "deliveries_per_second"),
                (big, "size"),
                (study, "size"),
                (study, "deliveries_per_second"),
            )
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines if big or study else []


def _idle(table: Table) -> list[str]:
    shapes = [shape for shape in table if shape.startswith("idle")]
    if not shapes:
        return []
    lines = ["", "## Idle connections, in no room", ""]
    lines += ["| server | " + " | ".join(f"{shape}: KB each (left when all are gone)" for shape in shapes) + " |"]
    lines += ["| --- |" + " --- |" * len(shapes)]
    for name in table[shapes[0]]:
        cells = []
        for shape in shapes:
            rows = table[shape][name]
            failure = _failure(rows)
            after = _number(_mid(rows, "after_kb_per_connection"))
            cells.append(failure or f"{_number(_mid(rows, 'kb_per_connection'))} ({after})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, "", "Ours: the gateway alone; what is left counts all processes."]


def _storm(table: Table) -> list[str]:
    servers = table["join storm, 2,000"]
    if not servers:
        return []
    lines = [
        "",
        "## Join storm",
        "",
        "2,000 members join one room within a second; until every member has received every other member.",
        "",
        "| server | seconds until all are in | until all know all | CPU seconds |",
        "| --- | --- | --- | --- |",
    ]
    for name, rows in sorted(servers.items(), key=lambda item: _mid(item[1], "seconds") or 1e9):
        failure = _failure(rows)
        cells = [_number(_mid(rows, key)) for key in ("joined_seconds", "seconds", "cpu_seconds")]
        lines.append(f"| {name} | " + (f"failed: {failure} | | |" if failure else " | ".join(cells) + " |"))
    return lines


def _ours_alone(table: Table) -> list[str]:
    lines = []
    for title, shapes in (
        ("Cost growth", [shape.name for shape in GROWTH]),
        ("One gateway and two", [shape.name for shape in STUDY_ROOMS]),
        ("Chat between two gateways", [shape.name for shape in CHAT]),
        ("A member that reads nothing", [shape for shape in table if "stalled" in shape]),
    ):
        rows = [
            (shape, name, measured)
            for shape in shapes
            for name, measured in table[shape].items()
            if measured and (title != "One gateway and two" or "gateways" in name)
        ]
        if rows:
            lines += [
                "",
                f"## {title}",
                "",
                "| shape | server | CPU µs per delivery | CPU of one core | p50 / p99 ms |",
            ]
            lines += ["| --- | --- | --- | --- | --- |"]
        for shape, name, measured in rows:
            if (failure := _failure(measured)) is not None:
                lines.append(f"| {shape} | {name} | failed: {failure} | | |")
                continue
            load = median(sum(row["cpu_share"].values()) for row in measured)
            latency = " / ".join(_number(_mid(measured, key)) for key in ("p50_us", "p99_us"))
            lines.append(f"| {shape} | {name} | {_spread(measured, 'cpu_us_per_delivery')} | {load:.0%} | {latency} |")
    return lines


# --- bars ------------------------------------------------------------------------------------------------------


def _bars(table: Table) -> list[str]:
    lines = ["| shape | figure | ours | best peer | ratio | bar |", "| --- | --- | --- | --- | --- | --- |"]
    cpu = "cpu_us_per_delivery"
    for shape, bar in zip([*BIG_ROOM[1:], *STUDY_ROOMS], (0.55, 0.5, 0.9, 0.65), strict=True):
        lines += _against(table[shape.name], f"{shape.name} | CPU µs per delivery", cpu, bar, min)
    lines += _against(
        table["big room, saturation"], "big room, saturation | deliveries/s", "deliveries_per_second", 3, max
    )
    lines += _against(table["study rooms, 20 Hz, saturation"], "study rooms, 20 Hz | rooms of 8", "size", 2.5, max)
    lines += _against(table["join storm, 2,000"], "join storm, 2,000 | seconds", "seconds", 0.3, min)
    lines += _own(table)
    return lines


def _against(
    servers: dict[str, list[Row]], label: str, key: str, bar: float, best: Callable[..., tuple[float, str]]
) -> list[str]:
    ours = _mid(servers.get(OURS, []), key)
    others = [
        (value, name)
        for name, rows in servers.items()
        if not name.startswith(OURS)
        and _failure(rows) is None
        and (_mid(rows, "received_share") or 1.0) >= _DELIVERED_SHARE
        and (value := _mid(rows, key)) is not None
    ]
    if ours is None or not others:
        return []
    value, name = best(others)
    ratio = ours / value
    sign, met = ("≤", ratio <= bar) if best is min else ("≥", ratio >= bar)
    digits = 2 if value < 1000 else 0
    return [
        f"| {label} | {_number(ours, digits)} | {_number(value, digits)} ({name}) | {ratio:.2f} | {sign} {bar} "
        f"{'met' if met else 'not met'} |"
    ]


def _own(table: Table) -> list[str]:
    lines = []

    def say(label: str, value: float | None, bar: float, unit: str = "") -> None:
        if value is not None:
            met = "met" if value <= bar else "not met"
            lines.append(f"| {label} | {value:.2f}{unit} | | | ≤ {bar}{unit} {met} |")

    fast, wide = table[BIG_ROOM[2].name][OURS], table[STUDY_ROOMS[1].name][OURS]
    say("big room, 400/s | p99", _mid(fast, "p99_us"), 50, " ms")
    say("study rooms, 10 Hz | age of the newest cursor, p99", _mid(wide, "p99_us"), 60, " ms")
    chat = table[QUIET_CHAT.name]["studyroom, 2 gateways"]
    say("quiet chat, two gateways | p50", _mid(chat, "p50_us"), 3, " ms")
    say("quiet chat, two gateways | p99", _mid(chat, "p99_us"), 15, " ms")
    say("idle connection | gateway RSS", _mid(table["idle, 19000"][OURS], "kb_per_connection"), 12, " KB")
    grown = [table[GROWTH[index].name][OURS] for index in (0, -1)]
    label = "cost growth ×1 → ×8 | CPU per delivery"
    if (failure := next(filter(None, map(_failure, grown)), None)) is not None:
        lines.append(f"| {label} | {failure} | | | ≤ 1.1 not shown |")
    else:
        first, last = (_mid(rows, "cpu_us_per_delivery") for rows in grown)
        say(label, last / first if first and last else None, 1.1)
    for shape in STUDY_ROOMS:
        one, two = (_mid(table[shape.name][f"studyroom, {count} gateways"], "cpu_us_per_delivery") for count in (1, 2))
        say(f"two gateways against one, {shape.name} | CPU per delivery", two / one if one and two else None, 1.25)
    return lines


# --- the plot --------------------------------------------------------------------------------------------------


def _plot(table: Table) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "studyroom"
    from matplotlib import pyplot as plt

    shapes = [shape.name for shape in (*BIG_ROOM, *STUDY_ROOMS) if table[shape.name]]
    figure, axes = plt.subplots(1, len(shapes) + 1, figsize=(3.1 * (len(shapes) + 1), 4.2))
    for axis, shape in zip(axes, shapes, strict=False):
        measured = {
            name: _mid(rows, "cpu_us_per_delivery")
            for name, rows in table[shape].items()
            if not _failure(rows) and not _is_ours_otherwise(name)
        }
        ranked = sorted(((value, name) for name, value in measured.items() if value is not None), reverse=True)
        values, names = [value for value, _ in ranked], [name for _, name in ranked]
        axis.barh(names, values, color=["#2a7f62" if name == OURS else "#b9c0c7" for name in names])
        axis.set_title(shape, fontsize=9)
        axis.set_xlabel("CPU µs per delivery", fontsize=8)
        axis.tick_params(labelsize=7)
    _plot_growth(axes[-1], table)
    figure.tight_layout()
    figure.savefig(HERE / "results.svg", metadata={"Date": None})


def _plot_growth(axis: Any, table: Table) -> None:
    names = sorted({name for shape in GROWTH for name in table[shape.name]})
    for name in names:
        points = [
            (shape.rooms, value)
            for shape in GROWTH
            if not _failure(table[shape.name][name])
            and (value := _mid(table[shape.name][name], "cpu_us_per_delivery")) is not None
        ]
        if points:
            axis.plot(*zip(*points, strict=True), marker="o", label=name, color="#2a7f62" if name == OURS else None)
    axis.set_title("study rooms, 5 Hz", fontsize=9)
    axis.set_xlabel("rooms of 8", fontsize=8)
    axis.set_ylim(bottom=0)
    axis.tick_params(labelsize=7)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=6)
