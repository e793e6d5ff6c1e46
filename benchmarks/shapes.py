"""The shapes of load, and their measurement."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

from benchmarks.generator import Failed, Generator, Outcome
from benchmarks.servers import Running, Server

P99_BOUND_US = 100_000
_DELIVERED_SHARE = 0.97
"""The least share of the due messages that must arrive within the window. Otherwise the server lags."""
_LADDER_STEP = 2.0
_LADDER_END = 1.1
"""The climb ends when a step that is kept up with and one that is too high differ by less than this factor."""
_HALVINGS = 5
_TRIES = 2
"""Attempts at a step before it counts as too high, since a single disturbance of the machine must not end the climb."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Traffic:
    """In each of `rooms` rooms, `senders` of the `members` send `rate` messages a second."""

    name: str
    rooms: int
    members: int
    senders: int
    rate: float
    kind: str = "cursor"
    stalled: int = 0
    """The members of each room that stop reading after their join."""
    by_hint: bool = False
    """The address names the room, and all members of a room choose the same gateway."""

    def measure(self, generator: Generator, server: Server, at: Running, seconds: float) -> Row:
        """Measure a shape once. Raises Failed."""
        outcome = generator.run(
            server.dialect,
            at.ports,
            at.pids,
            rooms=self.rooms,
            members=self.members,
            senders=self.senders,
            rate=self.rate,
            kind=self.kind,
            stalled=self.stalled,
            hint=self.by_hint,
            sender_hears=self._echoed_to_sender(server),
            own_cursors=server.echoes_cursor,
            seconds=seconds,
        )
        return self._row(server, outcome)

    def _echoed_to_sender(self, server: Server) -> bool:
        """Chat that comes back is its acknowledgement; a cursor that comes back says nothing."""
        return self.kind == "chat" and server.echoes_chat

    def _row(self, server: Server, outcome: Outcome) -> Row:
        seen = outcome.seen
        problems = {word: seen[word] for word in ("disordered", "foreign", "broken", "ends", "refused") if seen[word]}
        if problems:
            raise Failed(f"{problems} {seen.get('said', '')}")
        receivers = self.members - (not self._echoed_to_sender(server))
        due = seen["sent"] * (receivers - self.stalled)
        return {
            "connections": self.rooms * self.members,
            "cpu_us_per_delivery": outcome.cpu_us_per_delivery,
            "cpu_share": {name: cpu / seen["seconds"] for name, cpu in outcome.cpu_seconds.items()},
            "cpu_us_by_process": {
                name: cpu * 1e6 / max(1, seen["received"]) for name, cpu in outcome.cpu_seconds.items()
            },
            "generator_share": seen["generator_cpu"] / seen["seconds"],
            "deliveries_per_second": outcome.deliveries_per_second,
            "sent": seen["sent"],
            "received": seen["received"],
            "received_share": seen["received"] / max(1, due),
            "missing_last": seen["missing_last"],
            "generator_behind": seen["behind"],
            "resident_mb": outcome.resident_kb() / 1024,
            "deliveries_per_read": seen["received"] / max(1, seen["reads"]),
            **{key: seen[key] / 1000 for key in ("p50_us", "p99_us", "p999_us")},
        }


def kept_up(row: Row, *, conflates: bool) -> bool:
    """Return whether everything arrived in time, or the newest cursor of everyone if the server conflates."""
    soon: bool = row["p99_us"] * 1000 < P99_BOUND_US and not row["generator_behind"] and not row["missing_last"]
    return soon and (conflates or row["received_share"] >= _DELIVERED_SHARE)


BIG_ROOM = [Traffic(f"big room, {rate}/s", 1, 500, 1, rate, "chat") for rate in (20, 100, 400)]
STUDY_ROOMS = [Traffic(f"study rooms, {rate} Hz", 100, 8, 8, rate) for rate in (5, 10)]
CALM_ROOMS = Traffic("study rooms, 2 Hz", 100, 8, 8, 2)
CHAT_RATES = (1, 100, 2000)
"""Messages per second in all rooms together."""
CHAT = [Traffic(f"chat in 100 study rooms, {rate}/s in all", 100, 8, 1, rate / 100, "chat") for rate in CHAT_RATES]
QUIET_CHAT = CHAT[1]
TRAFFIC = [*BIG_ROOM, CALM_ROOMS, *STUDY_ROOMS]
GROWTH = [Traffic(f"study rooms ×{factor}, 5 Hz", 100 * factor, 8, 8, 5) for factor in (1, 2, 4, 8)]


def climb(
    step: Callable[[float], Traffic], first: float, measure: Callable[[Traffic], Row], *, conflates: bool
) -> Iterator[Row]:
    """Measure steps of twice the size while the server keeps up, and then between the last two until these are close.

    If the first one is too high, begin with a half of it, and so on, at most five times.
    """

    def kept_up_at(size: float) -> Row | None:
        for _ in range(_TRIES):
            try:
                row = measure(step(size))
            except Failed:
                continue
            if kept_up(row, conflates=conflates):
                return {**row, "size": size}
        return None

    low, high = 0.0, inf
    while high > low * _LADDER_END:
        size = min(low * _LADDER_STEP, sqrt(low * high)) if low else min(first, high / _LADDER_STEP)
        if size < first / _LADDER_STEP**_HALVINGS:
            return
        if (row := kept_up_at(size)) is not None:
            yield row
            low = size
        else:
            high = size


def big_room_at(rate: float) -> Traffic:
    return Traffic("big room, saturation", 1, 500, 1, rate, "chat")


def study_rooms_of(rooms: float) -> Traffic:
    return Traffic("study rooms, 20 Hz, saturation", int(rooms), 8, 8, 20)
