"""Checks that a room costs the same on many gateways as on one: `make bench ARGS="--check home"`.

It prints each figure as `name value bar`, and remarks in lines that begin with `#`. Costs are CPU of the gateways for
each delivery, divided by that of one gateway in the same run.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from uuid import uuid4

from benchmarks import haproxy, ninth_gateway, shapes
from benchmarks.generator import Failed, Generator
from benchmarks.many_gateways import PART_MEMBERS, divided, largest_over_mean, loads, zipf_sizes
from benchmarks.rings import Ring, key_of, place_of
from benchmarks.servers import Running, Studyroom, running
from benchmarks.shapes import Row, Traffic
from studyroom.services.stack.stack import free_port

STUDY_ROOMS = [replace(shape, by_hint=True) for shape in shapes.STUDY_ROOMS]
_BIG = Traffic("big room of 2,000, 100/s", 1, 2000, 1, 100, "chat")
_COLLECT_MS, _BIG_COLLECT_MS = 30, 100
"""For how long rooms collect in all ways. By default several gateways, which are less busy each, collect for less time.
Their cursors are younger then, and cost more. A room also collects for four times as long as its flush takes, and one
gateway takes so long for the big room that only the second time is the same for all."""
_POLL_SECONDS = 10
"""How often gateways compare their rooms with the stream."""
_IDLE_ROOMS, _CHATTING_ROOMS, _CHAT_RATE = 6000, 60, 0.2
_IDLE_SECONDS = 60
_REST_SECONDS, _IDLE_REST_SECONDS = 14, 175
"""Until the comparisons that follow joins are over, and until a room counts as quiet and its message is announced."""
_PLACED_ROOMS = 4000
_ZIPF_MEMBERS, _ZIPF_DRAWS = 64_000, 40


@dataclass(frozen=True)
class Figure:
    name: str
    bar: float
    value: float | None
    """None if it could not be measured."""
    optional: bool = False
    """Not measuring it does not count as short."""

    @property
    def short(self) -> bool:
        return not self.optional if self.value is None else self.value > self.bar

    def __str__(self) -> str:
        missing = "skipped" if self.optional else "failed"
        return f"{self.name} {missing if self.value is None else f'{self.value:.3g}'} {self.bar:g}"


@dataclass(frozen=True)
class Way:
    """A way to run gateways."""

    name: str
    label: str
    bar: float
    gateways: int = 1
    workers: int = 1
    balanced: bool = False
    """Through HAProxy."""
    collect_ms: int = _COLLECT_MS

    @property
    def server(self) -> Studyroom:
        return Studyroom(
            name=f"home-{self.label}", gateways=self.gateways, workers=self.workers, collect_ms=self.collect_ms
        )

    @property
    def processes(self) -> int:
        return self.gateways * self.workers


ALONE = Way("1 gateway", "one", 1.0)
WAYS = (
    ALONE,
    Way("2 gateways", "gateways-2", 1.15, gateways=2),
    Way("4 gateways", "gateways-4", 1.25, gateways=4),
    Way("4 workers behind one port", "workers-4", 1.25, workers=4),
    Way("2 gateways through HAProxy", "haproxy-2", 1.15, gateways=2, balanced=True),
)
BIG_WAYS = (
    replace(ALONE, collect_ms=_BIG_COLLECT_MS),
    Way("4 gateways", "big-room-gateways-4", 1.3, gateways=4, collect_ms=_BIG_COLLECT_MS),
)


@dataclass
class Check:
    directory: Path
    generator: Generator
    seconds: float
    repeats: int
    figures: list[Figure] = field(default_factory=list)

    def run(self) -> bool:
        """Measure everything. Return whether nothing fell short."""
        began = time.monotonic()
        for part in (self.placement, self.study_rooms, self.big_room, self.idle_rooms):
            part()
            remark(f"{(time.monotonic() - began) / 60:.1f} min")
        return none_short(self.figures)

    def report(self, name: str, value: float | None, bar: float, *, optional: bool = False) -> None:
        figure = Figure(name, bar, value, optional)
        self.figures.append(figure)
        print(figure, flush=True)

    # --- cost of a delivery -------------------------------------------------------------------------------

    def study_rooms(self) -> None:
        self._compare(WAYS, STUDY_ROOMS, lambda way, load: f"{way.label}-{load.rate:g}hz")

    def big_room(self) -> None:
        self._compare(BIG_WAYS, [_BIG], lambda way, _: way.label)

    def _compare(self, ways: tuple[Way, ...], loads_: list[Traffic], name: Callable[[Way, Traffic], str]) -> None:
        """Measure all ways in turn, each beginning with another one, and report their costs."""
        alone = ways[0]
        rows: dict[tuple[Way, Traffic], list[Row]] = defaultdict(list)
        shares = [share for load in loads_ for share in smaller(load, ways)]
        for repeat in range(self.repeats):
            first = repeat % len(ways)
            for way in ways[first:] + ways[:first]:
                try:
                    with self._serving(way) as at:
                        for load in loads_ + shares * (way == alone):
                            rows[way, load].append(self._measure(way, at, load))
                except Failed as error:
                    remark(f"{way.name} failed: {error}")
        for load in loads_:
            for way in ways[1:]:
                ratio = self._ratio(rows[way, load], rows[alone, load])
                self.report(name(way, load), ratio, way.bar, optional=way.balanced)
                for share in shares:
                    if share.rate == load.rate and share.rooms * way.processes == load.rooms:
                        ratio = self._ratio(rows[way, load], rows[alone, share])
                        remark(
                            f"{name(way, load)} against {ALONE.name} with as many rooms as each has: {ratio or 0:.3g}"
                        )

    def _ratio(self, own: list[Row], alone: list[Row]) -> float | None:
        return cost(own) / cost(alone) if own and alone else None

    @contextmanager
    def _serving(self, way: Way) -> Iterator[Running]:
        with running(way.server, self.directory) as at:
            if not way.balanced:
                yield at
                return
            pairs = zip(at.ports, at.admin_ports, strict=True)
            with haproxy.running(self.directory, [haproxy.Server(*ports) for ports in pairs]) as proxy:
                yield replace(at, ports=[proxy.port], pids=at.pids | dict.fromkeys(proxy.pids, "haproxy"))

    def _measure(self, way: Way, at: Running, shape: Traffic) -> Row:
        row = shape.measure(self.generator, way.server, at, self.seconds)
        by_process = ", ".join(f"{process} {us:.2f}" for process, us in row["cpu_us_by_process"].items())
        remark(
            f"{shape.name}, {way.name}: {by_process} us per delivery, newest {row['p50_us']:.1f} ms old at p50, "
            f"{row['received_share']:.0%} of those due"
        )
        return row

    # --- idle rooms ---------------------------------------------------------------------------------------

    def idle_rooms(self) -> None:
        """Measure what rooms in which nothing happens cost NATS, while a few others chat."""
        server = Studyroom(name="home-idle", gateways=2)
        name, bar = "idle-pair-nats-us", 2.0
        try:
            with running(server, self.directory) as at:
                used = [self._nats_seconds(server, at, rooms) for rooms in (0, _IDLE_ROOMS)]
        except Failed as error:
            remark(f"idle rooms failed: {error}")
            self.report(name, None, bar)
            return
        pairs = 2 * _IDLE_ROOMS
        remark(f"NATS used {used[0]:.2f} s without and {used[1]:.2f} s with {pairs:,} idle pairs of room and gateway")
        polls = pairs * _IDLE_SECONDS / _POLL_SECONDS
        self.report(name, max(0.0, used[1] - used[0]) * 1e6 / polls, bar)

    def _nats_seconds(self, server: Studyroom, at: Running, idle_rooms: int) -> float:
        """Return the CPU seconds of NATS. Each room has a member on each of two gateways, and one stored message."""
        outcome = self.generator.run(
            server.dialect,
            at.ports,
            at.pids,
            rooms=_CHATTING_ROOMS + idle_rooms,
            quiet=idle_rooms,
            members=2,
            senders=1,
            rate=_CHAT_RATE,
            kind="chat",
            sender_hears=True,
            warmup=_IDLE_REST_SECONDS if idle_rooms else _REST_SECONDS,
            seconds=_IDLE_SECONDS,
            timeout=200,
        )
        return outcome.cpu_seconds["nats"]

    # --- places of rooms ----------------------------------------------------------------------------------

    def placement(self) -> None:
        ports = [free_port() for _ in range(9)]
        rooms = [str(uuid4()) for _ in range(_PLACED_ROOMS)]
        model = self._modelled(ports[:8], rooms), self._modelled(ports, rooms)
        try:
            real = tuple(haproxy.places(self.directory, some, rooms) for some in (ports[:8], ports))
        except Failed as error:
            remark(f"places come from the model of HAProxy's hash ring alone: {error}")
        else:
            pairs = [pair for seen in zip(real, model, strict=True) for pair in zip(*seen, strict=True)]
            different = sum(placed != modelled for placed, modelled in pairs)
            remark(f"HAProxy and the model of its hash ring disagree about {different} of {len(pairs)} rooms")
            if different:
                raise Failed("benchmarks/rings.py is not the hash ring of this HAProxy")
        moved = sum(a != b for a, b in zip(*model, strict=True)) / len(rooms)
        self.report("moved-to-the-ninth", moved, 1 / 8)
        self._balance()
        self._add_the_ninth()

    def _add_the_ninth(self) -> None:
        try:
            outcome = ninth_gateway.add_the_ninth(self.directory)
        except Failed as error:
            remark(str(error))
            self.report("left-for-the-ninth", None, 0)
            return
        remark(
            f"{outcome.moved} of {outcome.rooms} rooms moved whole to a ninth gateway behind HAProxy, "
            f"with {outcome.reconnects} reconnects"
        )
        self.report("left-for-the-ninth", outcome.left, 0)

    def _balance(self) -> None:
        """Place rooms of Zipf's sizes on eight gateways many times, because a few large rooms decide each time."""
        ring = Ring(key_of("127.0.0.1", 20_000 + number) for number in range(8))
        sizes = zipf_sizes(_ZIPF_MEMBERS)
        draw = random.Random(1)
        for name, part_members in (("undivided", 0), ("balance-8", PART_MEMBERS)):
            found = []
            for _ in range(_ZIPF_DRAWS):
                parts = list(divided(sizes, part_members, draw))
                found.append(largest_over_mean(loads(parts, [ring.gateway(part.place) for part in parts], 8)))
            if part_members:
                self.report(name, median(found), 1.3)
            remark(
                f"{name}: {_ZIPF_MEMBERS:,} members, {len(sizes):,} rooms of up to {sizes[0]:,}, largest over mean "
                f"{median(found):.3f}, in the worst of {_ZIPF_DRAWS} draws {max(found):.3f}"
            )

    def _modelled(self, ports: list[int], rooms: list[str]) -> list[int]:
        ring = Ring(key_of("127.0.0.1", port) for port in ports)
        return [ring.gateway(place_of(room)) for room in rooms]


def smaller(shape: Traffic, ways: tuple[Way, ...]) -> list[Traffic]:
    """Return the shape with as many rooms as each gateway of the other ways has, for a gateway alone."""
    shares = sorted({way.processes for way in ways} - {1})
    return [
        replace(shape, name=f"{shape.name}, 1/{share} of the rooms", rooms=shape.rooms // share)
        for share in shares
        if shape.rooms % share == 0
    ]


def cost(rows: list[Row]) -> float:
    return float(median(row["cpu_us_by_process"]["gateway"] for row in rows))


def none_short(figures: Iterable[Figure]) -> bool:
    """Name the figures that fall short of their bars. Return whether there are none."""
    short = [figure.name for figure in figures if figure.short]
    remark(f"short of the bar: {', '.join(short) or 'none'}")
    return not short


def remark(text: str) -> None:
    print(f"# {text}", flush=True)
