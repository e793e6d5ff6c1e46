"""One run of measurements: servers by turns, and the rows that they gave."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import shapes
from benchmarks.bars import IDLE, IDLE_CONNECTIONS, PINGED, STORM, TWO_GATEWAYS
from benchmarks.generator import BUSY, Failed, Generator, Outcome
from benchmarks.servers import Running, Server, Studyroom, running
from benchmarks.shapes import Row, Traffic

_IDLE = {"idle, 5,000": 5_000, IDLE: IDLE_CONNECTIONS}
_STORM_MEMBERS = 2_000
_STORM_SECONDS = 45.0
_RARE_SECONDS = 30.0
_STEP_SECONDS = 3.0
_FIRST_RATE, _FIRST_ROOMS = 480.0, 48.0
"""Where the climb to saturation begins."""
_PINGED_SECONDS = 40.0
"""Two intervals of the gateway's pings."""


@dataclass
class Bench:
    directory: Path
    generator: Generator
    servers: list[Server]
    seconds: float
    indent: str = "  "
    """The beginning of each printed line."""
    only_traffic: list[Server] = field(default_factory=list)
    """More servers, for the group `traffic` alone."""
    idle_few: bool = True
    """Measure few idle connections too, not only many."""
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
        print(f"{self.indent}{shape:<36} {server.name:<22} {_gist(row)}", flush=True)
        return None if "failed" in row else row

    # --- groups -------------------------------------------------------------------------------------------

    def traffic(self, repeat: int) -> None:
        for server in self._in_turn(repeat, [*self.servers, *self.only_traffic]):
            self._measure_all(server, shapes.TRAFFIC, repeat)

    def _measure_all(self, server: Server, loads: Iterable[Traffic], repeat: int) -> None:
        with self._trying(server), running(server, self.directory) as at:
            for shape in loads:
                self._traffic(server, at, shape, repeat)

    @contextmanager
    def _trying(self, server: Server) -> Iterator[None]:
        """Print why a server could not be started, and go on with the next one."""
        try:
            yield
        except Failed as error:
            print(f"{self.indent}{server.name}: {error}", flush=True)

    def _in_turn(self, repeat: int, servers: list[Server]) -> list[Server]:
        """Let each repeat begin with another server."""
        first = repeat % len(servers)
        return servers[first:] + servers[:first]

    def _traffic(self, server: Server, at: Running, shape: Traffic, repeat: int) -> Row | None:
        if (server.name, shape.name) in self._failed:
            return None
        return self.note(server, shape.name, repeat, lambda: shape.measure(self.generator, server, at, self.seconds))

    def saturation(self, repeat: int) -> None:
        for server in self._in_turn(repeat, self.servers):
            for step, first in ((shapes.big_room_at, _FIRST_RATE), (shapes.study_rooms_of, _FIRST_ROOMS)):
                with self._trying(server), running(server, self.directory) as at:
                    self._climb(server, at, step, first, repeat)

    def _climb(self, server: Server, at: Running, step: Callable[[float], Traffic], first: float, repeat: int) -> None:
        def measure(traffic: Traffic) -> Row:
            return traffic.measure(self.generator, server, at, min(self.seconds, _STEP_SECONDS))

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
        for server in self._in_turn(repeat, self.servers):
            for shape, connections in _IDLE.items() if self.idle_few else [(IDLE, _IDLE[IDLE])]:
                self.note(server, shape, repeat, lambda s=server, n=connections: self._idle(s, n))  # type: ignore[misc]

    def _idle(self, server: Server, connections: int) -> Row:
        with running(server, self.directory) as at:
            outcome = self._idling(server, at, connections, settle=3, leave=True)
        before, during = outcome.seen["resident_before_kb"], outcome.seen["resident_kb"]
        per_process = {at.pids[int(pid)]: (during[pid] - before[pid]) / connections for pid in during}
        gateway = per_process.get("gateway", sum(per_process.values()))
        return {
            "kb_per_connection": gateway,
            "kb_by_process": per_process,
            "after_kb_per_connection": (outcome.resident_kb("resident_after_kb") - sum(before.values())) / connections,
            "seconds_to_open": outcome.seen["seconds"],
        }

    def _idling(self, server: Server, at: Running, connections: int, **options: object) -> Outcome:
        return self.generator.run(
            server.dialect, at.ports, at.pids, mode="idle", connections=connections, timeout=120, **options
        )

    def pinged(self, repeat: int) -> None:
        """Measure what a connection costs a gateway that does nothing but answer pings."""
        server = Studyroom()

        def cpu_seconds(connections: int) -> float:
            with running(server, self.directory) as at:
                outcome = self._idling(server, at, connections, rest=_PINGED_SECONDS)
            return outcome.cpu_seconds["gateway"]

        def measure() -> Row:
            without, used = cpu_seconds(1), cpu_seconds(IDLE_CONNECTIONS)
            return {"us_per_connection": (used - without) * 1e6 / _PINGED_SECONDS / IDLE_CONNECTIONS}

        self.note(server, PINGED, repeat, measure)

    def storm(self, repeat: int) -> None:
        for server in self._in_turn(repeat, self.servers):
            if server.announces_joins and (server.name, STORM) not in self._failed:
                self.note(server, STORM, repeat, lambda s=server: self._storm(s))  # type: ignore[misc]

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
        self._measure_all(Studyroom(), shapes.GROWTH, repeat)

    def gateways(self, repeat: int) -> None:
        for count in (1, 2):
            server = Studyroom(name=f"studyroom, {count} gateways", gateways=count)
            self._measure_all(server, shapes.STUDY_ROOMS, repeat)

    def chat(self, repeat: int) -> None:
        self._chat(repeat, shapes.CHAT)

    def quiet_chat(self, repeat: int) -> None:
        self._chat(repeat, [shapes.QUIET_CHAT])

    def _chat(self, repeat: int, loads: list[Traffic]) -> None:
        """Measure chat between two gateways."""
        server = Studyroom(name=TWO_GATEWAYS, gateways=2)
        with self._trying(server), running(server, self.directory) as at:
            for shape in loads:
                # At a low rate it takes longer to see enough messages for the slowest of a hundred.
                seconds = max(self.seconds, min(_RARE_SECONDS, 1000 / (shape.rooms * shape.rate)))
                self.note(
                    server,
                    shape.name,
                    repeat,
                    lambda shape=shape, seconds=seconds: shape.measure(self.generator, server, at, seconds),  # type: ignore[misc]
                )

    def stalled(self, repeat: int) -> None:
        """Measure a room of 500 members, of which one reads nothing."""
        for stalled in (0, 1):
            shape = Traffic(f"big room, 100/s, {stalled} stalled", 1, 500, 1, 100, "chat", stalled=stalled)
            self._measure_all(Studyroom(), [shape], repeat)


def _gist(row: Row) -> str:
    if "failed" in row:
        return f"failed: {row['failed'][:100]}"
    if "cpu_us_per_delivery" in row:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in row["cpu_share"].items())
        return (
            f"{row['cpu_us_per_delivery']:7.2f} us/delivery  {row['deliveries_per_second']:9.0f}/s  "
            f"p50 {row['p50_us']:.1f} p99 {row['p99_us']:.1f} ms  {row['received_share']:.0%} of those due  "
            f"({shares}; generator {row['generator_share']:.0%}{' busy' if row['generator_share'] > BUSY else ''})"
        )
    return ", ".join(f"{key} {value:.2f}" for key, value in row.items() if isinstance(value, float))
