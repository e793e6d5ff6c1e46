"""The bars of Studyroom: each figure, the shape that it is measured in, and the value that it has to reach."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks import shapes
from benchmarks.medians import AS_OLD, OURS, Table, best_peer, failure, mid
from benchmarks.shapes import Traffic

Measure = Literal["own", "peer", "limit"]
CPU = "cpu_us_per_delivery"
STORM = "join storm, 2,000"
IDLE_CONNECTIONS = 18_000
"""A gateway keeps some of its file descriptors for itself: of 20,000 it gives 18,444 to clients."""
IDLE = f"idle, {IDLE_CONNECTIONS:,}"
PINGED = f"{IDLE}, pinged"
BIG_SATURATION = shapes.big_room_at(1).name
STUDY_SATURATION = shapes.study_rooms_of(1).name
TWO_GATEWAYS = "studyroom, 2 gateways"


@dataclass(frozen=True)
class Bar:
    name: str
    group: str
    """The group of measurements that the figure needs."""
    shape: str
    key: str
    bar: float
    unit: str = ""
    measure: Measure = "own"
    """Whether the value itself counts, or its ratio to the best peer, or to the limit at the same age of the newest."""
    least: bool = False
    """The value must be at least the bar, not at most."""
    server: str = OURS


@dataclass(frozen=True)
class Value:
    ours: float
    against: float | None = None
    whom: str = ""

    @property
    def counted(self) -> float:
        """The number that is compared with the bar."""
        return self.ours if self.against is None else self.ours / self.against


def meets(bar: Bar, value: float) -> bool:
    return value >= bar.bar if bar.least else value <= bar.bar


def value_of(bar: Bar, table: Table) -> Value | None:
    """Return the medians behind a figure; None if they were not measured."""
    servers = table[bar.shape]
    rows = servers.get(bar.server, [])
    ours = mid(rows, bar.key)
    if ours is None or failure(rows) is not None:
        return None
    if bar.measure == "own":
        return Value(ours)
    if bar.measure == "limit":
        limit = mid(servers.get(AS_OLD, []), bar.key)
        return Value(ours, limit, AS_OLD) if limit else None
    try:
        value, name = best_peer(servers, bar.key, max if bar.least else min)
    except ValueError:
        return None
    return Value(ours, value, name)


def _short(shape: Traffic) -> str:
    rate = f"{shape.rate:g}" + ("" if shape.kind == "chat" else "hz")
    return f"{'big-room' if shape.kind == 'chat' else 'study-rooms'}-{rate}"


def _traffic(
    loads: Iterable[Traffic], p50: float | None, p99: float, to_peer: float, to_limit: float | None
) -> Iterator[Bar]:
    for shape in loads:
        name = _short(shape)
        if p50 is not None:
            yield Bar(f"{name}-p50-ms", "traffic", shape.name, "p50_us", p50, " ms")
        yield Bar(f"{name}-p99-ms", "traffic", shape.name, "p99_us", p99, " ms")
        yield Bar(f"{name}-cpu-to-best-peer", "traffic", shape.name, CPU, to_peer, measure="peer")
        if to_limit is not None:
            yield Bar(f"{name}-cpu-to-limit", "traffic", shape.name, CPU, to_limit, measure="limit")


BARS: tuple[Bar, ...] = (
    *_traffic([shapes.BIG_ROOM[0], shapes.CALM_ROOMS, shapes.STUDY_ROOMS[0]], 3, 15, 1.0, 1.3),
    *_traffic([shapes.BIG_ROOM[1], shapes.STUDY_ROOMS[1]], 8, 30, 0.85, 1.4),
    *_traffic([shapes.BIG_ROOM[2]], None, 50, 0.4, None),
    Bar(
        "big-room-saturation-deliveries-to-best-peer",
        "saturation",
        BIG_SATURATION,
        "deliveries_per_second",
        1.0,
        measure="peer",
        least=True,
    ),
    Bar(
        "study-rooms-20hz-saturation-rooms-to-best-peer",
        "saturation",
        STUDY_SATURATION,
        "size",
        1.0,
        measure="peer",
        least=True,
    ),
    Bar("join-storm-seconds-to-best-peer", "storm", STORM, "seconds", 1.0, measure="peer"),
    Bar("idle-18000-seconds-to-best-peer", "idle", IDLE, "seconds_to_open", 2.0, measure="peer"),
    Bar("idle-kb", "idle", IDLE, "kb_per_connection", 4, " KB"),
    Bar("idle-kb-left", "idle", IDLE, "after_kb_per_connection", 1, " KB"),
    Bar("idle-pinged-us-per-second", "pinged", PINGED, "us_per_connection", 2.2, " µs/s"),
    Bar("quiet-chat-p50-ms", "quiet_chat", shapes.QUIET_CHAT.name, "p50_us", 2, " ms", server=TWO_GATEWAYS),
    Bar("quiet-chat-p99-ms", "quiet_chat", shapes.QUIET_CHAT.name, "p99_us", 6, " ms", server=TWO_GATEWAYS),
)
