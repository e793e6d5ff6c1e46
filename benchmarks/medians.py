"""Medians of measurements, by shape and server."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from statistics import median

from benchmarks.shapes import Row

OURS = "studyroom"
LIMIT = "limit"
AS_OLD = "limit, as old as ours"
"""The limit that collects for so long that the newest has the same age as ours, in the same run."""
_DELIVERED_SHARE = 0.97
"""A server that delivers a smaller share of the due messages is not compared, because dropping messages is cheap."""

Table = dict[str, dict[str, list[Row]]]
"""Rows by shape and server."""


def by_shape(rows: Iterable[Row]) -> Table:
    table: Table = defaultdict(lambda: defaultdict(list))
    for row in rows:
        table[row["shape"]][row["server"]].append(row)
    return table


def mid(rows: Iterable[Row], key: str) -> float | None:
    """Return the median of a key; None where no row has it."""
    values = [row[key] for row in rows if key in row]
    return median(values) if values else None


def failure(rows: Iterable[Row]) -> str | None:
    return next((row["failed"] for row in rows if "failed" in row), None)


def is_peer(name: str) -> bool:
    """Return whether this is another server than Studyroom and the limit."""
    return not name.startswith((OURS, LIMIT))


def peers(servers: dict[str, list[Row]], key: str) -> list[tuple[float, str]]:
    """Return the medians of the peers that have not failed and delivered what was due, with their names."""
    return [
        (value, name)
        for name, rows in servers.items()
        if is_peer(name)
        and failure(rows) is None
        and (mid(rows, "received_share") or 1.0) >= _DELIVERED_SHARE
        and (value := mid(rows, key)) is not None
    ]


def best_peer(servers: dict[str, list[Row]], key: str, best: Callable[..., tuple[float, str]]) -> tuple[float, str]:
    """Return the median and the name of the best peer. `best`: min or max. Raises ValueError without any peer."""
    return best(peers(servers, key))
