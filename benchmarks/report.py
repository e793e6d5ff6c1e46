"""Writes RESULTS.md and its plot from the measurements."""

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import bars, frontier_plot
from benchmarks.bars import BARS, Bar
from benchmarks.generator import BUSY
from benchmarks.medians import LIMIT, OURS, Table, by_shape, failure, is_peer, mid
from benchmarks.shapes import CHAT, GROWTH, STUDY_ROOMS, TRAFFIC, Row

HERE = Path(__file__).parent
DOCUMENTS = "\n## Shared documents\n"
"""The heading of the last section, which another check writes and this one keeps."""
Results = dict[str, Any]


def write(results: Results) -> None:
    table = by_shape(results["rows"])
    path = HERE / "RESULTS.md"
    _, documents, section = path.read_text().partition(DOCUMENTS) if path.exists() else ("", "", "")
    path.write_text("\n".join(_lines(results["about"], table)) + f"\n{documents}{section}")
    frontier_plot.write(HERE / "results.svg", table)


def _lines(about: dict[str, Any], table: Table) -> list[str]:
    lines = [
        "# Results",
        "",
        f"Written by `make bench` on {about['date']}: {about['machine']}, Python {about['python']}, medians of up to "
        f"{about['repeats']} of {about['seconds']:g} s each, all in one run of {about['minutes']} minutes.",
        "",
        f"One core runs all processes of a server, and {_cores(about)} the load generator. Compare figures within",
        "this page only, because repeated runs on machines of this kind differ by up to a third.",
        "",
        "CPU is user and system time of all processes of a server (of Studyroom: gateway, nats-server, presence),",
        "divided by the messages of others that clients received. nchan, Centrifugo and the original axum server also",
        "send a cursor back to its author, which does not count. Studyroom stores chat before it delivers it, and the",
        "others do not. Studyroom conflates cursors, so a delivery is an update with the newest cursor of a member,",
        "and the latency is the age of that cursor.",
        "",
        "`limit` is a C program of one loop that checks nothing, stores nothing and announces no joins: what the",
        "machine can do. `limit, 4 ms` collects for that long before it sends. An asterisk marks runs in which the",
        f"load generator took more than {BUSY:.0%} of a core, so that it may be what was measured.",
        "",
        "![Age of the newest over deliveries for each second of CPU](results.svg)",
        "",
        "| server | version |",
        "| --- | --- |",
        *(
            f"| {name} | {version} |"
            for name, version in about.get("servers", {}).items()
            if not name.startswith("limit,")
        ),
        "",
        "## Studyroom against the best peer",
        "",
        *_bars(table),
    ]
    for shape in TRAFFIC:
        lines += _traffic(shape.name, table[shape.name])
    lines += _saturation(table)
    lines += _idle(table)
    lines += _storm(table)
    lines += _ours_alone(table)
    return lines


def _cores(about: dict[str, Any]) -> str:
    count = len(about.get("cores", [1]))
    return "another" if count == 1 else f"{count} others"


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _spread(rows: Iterable[Row], key: str) -> str:
    values = [row[key] for row in rows if key in row]
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})" if values else "–"


def _is_compared(name: str) -> bool:
    """Return whether a server has its place beside others. Several gateways have tables of their own."""
    return name == OURS or is_peer(name) or name.startswith(LIMIT)


def _marked(rows: Iterable[Row]) -> str:
    """Return an asterisk if the load generator may be what was measured."""
    return "*" if any(row.get("generator_share", 0.0) > BUSY for row in rows) else ""


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
    for name, rows in sorted(servers.items(), key=lambda item: mid(item[1], "cpu_us_per_delivery") or 1e9):
        if not rows or not _is_compared(name):
            continue
        if (reason := failure(rows)) is not None:
            lines.append(f"| {name} | failed: {reason} | | | | | |")
            continue
        share = mid(rows, "received_share") or 0.0
        latency = " / ".join(_number(mid(rows, key)) for key in ("p50_us", "p99_us", "p999_us"))
        lines.append(
            f"| {name}{_marked(rows)} | {_spread(rows, bars.CPU)} | {_number(mid(rows, 'deliveries_per_second'), 0)} "
            f"| {share:.1%} | {latency} | {_number(mid(rows, 'deliveries_per_read'))} "
            f"| {_number(mid(rows, 'resident_mb'), 0)} |"
        )
    ours = servers.get(OURS, [])
    if ours and "cpu_us_by_process" in ours[0]:
        parts = {name: median(row["cpu_us_by_process"][name] for row in ours) for name in ours[0]["cpu_us_by_process"]}
        lines += ["", "Ours by process: " + ", ".join(f"{name} {value:.2f}" for name, value in parts.items()) + " µs."]
        sent, received = mid(ours, "sent"), mid(ours, "received")
        lines[-1] += f" {_number(sent, 0)} updates sent, {_number(received, 0)} received."
    return lines


def _saturation(table: Table) -> list[str]:
    lines = [
        "",
        "## Saturation",
        "",
        "The most with p99 under 100 ms and everything (of cursors the newest of everyone) delivered, within 9 %.",
        "",
        "| server | big room, deliveries/s | messages/s | study rooms at 20 Hz, rooms of 8 | deliveries/s |",
        "| --- | --- | --- | --- | --- |",
    ]
    big, study = table[bars.BIG_SATURATION], table[bars.STUDY_SATURATION]
    for name in sorted({*big, *study}, key=lambda name: -(mid(big[name], "deliveries_per_second") or 0)):
        cells = [
            _number(mid(rows[name], key), 0)
            for rows, key in (
                (big, "deliveries_per_second"),
                (big, "size"),
                (study, "size"),
                (study, "deliveries_per_second"),
            )
        ]
        lines.append(f"| {name}{_marked([*big[name], *study[name]])} | " + " | ".join(cells) + " |")
    return lines if big or study else []


def _idle(table: Table) -> list[str]:
    shapes = [shape for shape in table if shape.startswith("idle") and shape != bars.PINGED]
    if not shapes:
        return []
    lines = ["", "## Idle connections, in no room", ""]
    lines += [
        "| server | " + " | ".join(f"{shape}: seconds to open; KB each (left when all are gone)" for shape in shapes)
    ]
    lines[-1] += " |"
    lines += ["| --- |" + " --- |" * len(shapes)]
    for name in table[shapes[0]]:
        cells = []
        for shape in shapes:
            rows = table[shape][name]
            seconds, each, after = (
                _number(mid(rows, key)) for key in ("seconds_to_open", "kb_per_connection", "after_kb_per_connection")
            )
            cells.append(failure(rows) or f"{seconds}; {each} ({after})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "Ours: the gateway alone; what is left counts all processes."]
    if (pinged := mid(table[bars.PINGED].get(OURS, []), "us_per_connection")) is not None:
        lines[-1] += f" A connection that is only pinged takes {pinged:.2f} µs of the gateway's CPU a second."
    return lines


def _storm(table: Table) -> list[str]:
    servers = table[bars.STORM]
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
    for name, rows in sorted(servers.items(), key=lambda item: mid(item[1], "seconds") or 1e9):
        reason = failure(rows)
        cells = [_number(mid(rows, key)) for key in ("joined_seconds", "seconds", "cpu_seconds")]
        lines.append(f"| {name} | " + (f"failed: {reason} | | |" if reason else " | ".join(cells) + " |"))
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
            if (reason := failure(measured)) is not None:
                lines.append(f"| {shape} | {name} | failed: {reason} | | |")
                continue
            load = median(sum(row["cpu_share"].values()) for row in measured)
            latency = " / ".join(_number(mid(measured, key)) for key in ("p50_us", "p99_us"))
            lines.append(f"| {shape} | {name} | {_spread(measured, 'cpu_us_per_delivery')} | {load:.0%} | {latency} |")
    return lines


# --- bars ------------------------------------------------------------------------------------------------------


def _bars(table: Table) -> list[str]:
    lines = ["| shape | figure | ours | best peer | ratio | bar |", "| --- | --- | --- | --- | --- | --- |"]
    for bar in BARS:
        value = bars.value_of(bar, table)
        if value is None:
            continue
        digits = 2 if value.ours < 1000 else 0
        cells = [bar.shape, _FIGURES[bar.key], _number(value.ours, digits) + bar.unit]
        cells += ["", ""] if value.against is None else [f"{_number(value.against, digits)} ({value.whom})"]
        if value.against is not None:
            cells.append(f"{value.counted:.2f}")
        lines.append(f"| {' | '.join(cells)} | {_outcome(bar, value.counted)} |")
    return [*lines, *_growth(table)]


_FIGURES = {
    bars.CPU: "CPU µs per delivery",
    "p50_us": "age of the newest, p50",
    "p99_us": "age of the newest, p99",
    "deliveries_per_second": "deliveries/s",
    "size": "rooms of 8",
    "seconds": "seconds",
    "seconds_to_open": "seconds to open",
    "kb_per_connection": "gateway RSS each",
    "after_kb_per_connection": "RSS each, left when all are gone",
    "us_per_connection": "gateway CPU each",
}


def _outcome(bar: Bar, value: float) -> str:
    sign, met = ("≥" if bar.least else "≤"), ("met" if bars.meets(bar, value) else "not met")
    return f"{sign} {bar.bar:g}{bar.unit} {met}"


def _growth(table: Table) -> list[str]:
    """Return the costs of Studyroom that are compared with others of its own costs."""
    found: list[tuple[str, float | None, float | None, float]] = []
    first, last = (mid(table[GROWTH[index].name][OURS], bars.CPU) for index in (0, -1))
    found.append(("cost growth ×1 → ×8", last, first, 1.1))
    for shape in STUDY_ROOMS:
        one, two = (mid(table[shape.name][f"studyroom, {count} gateways"], bars.CPU) for count in (1, 2))
        found.append((f"two gateways against one, {shape.name}", two, one, 1.25))
    lines = []
    for label, value, other, bar in found:
        if value and other:
            met = "met" if value / other <= bar else "not met"
            lines.append(f"| {label} | CPU per delivery | {value / other:.2f} | | | ≤ {bar} {met} |")
    return lines
