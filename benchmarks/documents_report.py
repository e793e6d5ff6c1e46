"""Writes the section about shared documents of RESULTS.md, which is the last one."""

from collections.abc import Iterable, Mapping
from statistics import median

from benchmarks.home import Figure
from benchmarks.report import DOCUMENTS, HERE
from benchmarks.shapes import Row

Rows = Mapping[tuple[str, str], list[Row]]
"""Rows by shape and server."""


def write(
    about: str,
    versions: Mapping[str, str],
    figures: Iterable[Figure],
    rows: Rows,
    loads: Iterable[str],
    others: Iterable[str],
) -> None:
    """Replace the section. `loads`: shapes with edits. `others`: shapes with one figure."""
    lines = [
        about,
        "",
        "CPU and memory are those of all processes of a server. Studyroom acknowledges an edit when JetStream has",
        "stored it, and the others when it is in their memory. A delivery is one edit that reached one other editor.",
        "",
        "| server | version |",
        "| --- | --- |",
        *(f"| {server} | {version} |" for server, version in versions.items()),
        "",
        "| figure | value | bar | result |",
        "| --- | --- | --- | --- |",
        *(_figure(figure) for figure in figures),
    ]
    for shape in loads:
        lines += ["", f"### {shape}", "", *_load(shape, versions, rows)]
    for shape in others:
        lines += ["", f"### {shape}", "", *_other(shape, versions, rows)]
    path = HERE / "RESULTS.md"
    before, _, _ = path.read_text().partition(DOCUMENTS)
    path.write_text(before + DOCUMENTS + "\n" + "\n".join(lines) + "\n")


def _figure(figure: Figure) -> str:
    value = "–" if figure.value is None else f"{figure.value:.3g}"
    return f"| {figure.name} | {value} | ≤ {figure.bar:g} | {'not met' if figure.short else 'met'} |"


def _load(shape: str, servers: Iterable[str], rows: Rows) -> list[str]:
    lines = [
        "| server | CPU µs per delivery (lowest–highest) | of which | acknowledged p50 / p99 ms | seen p50 / p99 ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for server in servers:
        if not (found := rows.get((shape, server))):
            lines.append(f"| {server} | failed | | | |")
            continue
        parts = ", ".join(
            f"{name} {median(row['us_by_process'][name] for row in found):.2f}" for name in found[0]["us_by_process"]
        )
        times = (_times(found, what) for what in ("stored", "seen"))
        lines.append(f"| {server} | {_spread(found, 'cpu_us_per_delivery')} | {parts} | {' | '.join(times)} |")
    return lines


def _other(shape: str, servers: Iterable[str], rows: Rows) -> list[str]:
    lines = ["| server | figure (lowest–highest) | CPU or parts |", "| --- | --- | --- |"]
    for server in servers:
        if not (found := rows.get((shape, server))):
            lines.append(f"| {server} | failed | |")
            continue
        key, unit = ("open_p50_ms", "ms") if "open_p50_ms" in found[0] else ("kb_per_document", "KB")
        lines.append(f"| {server} | {_spread(found, key)} {unit} | {found[-1]['parts']} |")
    return lines


def _times(rows: list[Row], what: str) -> str:
    return f"{_mid(rows, f'{what}_p50_ms'):.1f} / {_mid(rows, f'{what}_p99_ms'):.1f}"


def _mid(rows: Iterable[Row], key: str) -> float:
    return float(median(row[key] for row in rows))


def _spread(rows: Iterable[Row], key: str) -> str:
    values = [row[key] for row in rows]
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
