"""Counts how grace periods end: the member returns, or the period expires.

Pure, and only for metrics, because NATS keeps the time. A replica counts the grace periods that it has begun itself, so
the total is the sum over replicas.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from enum import StrEnum

from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.presence import Entry
from studyroom.shared.contract.subjects import shard_of


class GraceOutcome(StrEnum):
    RETURNED = "returned"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class _GracePeriod:
    sequence: int
    gateway: GatewayId | None
    """The dead gateway of this member; None when the member has only lost a connection."""


@dataclass(slots=True)
class GracePeriods:
    on_ended: Callable[[GraceOutcome], None]
    on_ghosts_gone: Callable[[GatewayId], None]
    """Called when the last grace period of a dead gateway's members has ended."""
    _running: dict[tuple[RoomId, UserId], _GracePeriod] = field(default_factory=dict)
    _ghosts: dict[GatewayId, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._running)

    def has_any_of(self, gateway: GatewayId) -> bool:
        """Return whether grace periods of this dead gateway's members are running."""
        return gateway in self._ghosts

    def clear(self, shards: Container[int]) -> None:
        """Drop those of rooms in these shards, because their stream was replaced."""
        for room, user in [key for key in self._running if shard_of(key[0]) in shards]:
            self._drop(room, user)

    def begin(self, room: RoomId, user: UserId, sequence: int, gateway: GatewayId | None) -> None:
        """Record that this replica has written an entry with a TTL at this stream sequence.

        `gateway`: the dead gateway that the member was on, None if it is alive.
        """
        self._end(room, user)
        self._running[room, user] = _GracePeriod(sequence, gateway)
        if gateway is not None:
            self._ghosts[gateway] = self._ghosts.get(gateway, 0) + 1

    def changed(self, room: RoomId, user: UserId, sequence: int, entry: Entry | None) -> None:
        """Take in a committed change; `entry` is None for a removal.

        Changes that are older than the member's grace period have no effect.
        """
        period = self._running.get((room, user))
        if period is None or sequence <= period.sequence:
            return
        if entry is None:
            self.on_ended(GraceOutcome.EXPIRED)
        elif entry.connections:
            self.on_ended(GraceOutcome.RETURNED)
        self._end(room, user)

    def _end(self, room: RoomId, user: UserId) -> None:
        if (gateway := self._drop(room, user)) is not None:
            self.on_ghosts_gone(gateway)

    def _drop(self, room: RoomId, user: UserId) -> GatewayId | None:
        """Return the dead gateway of the member if it was the last of them."""
        period = self._running.pop((room, user), None)
        if period is None or period.gateway is None:
            return None
        self._ghosts[period.gateway] -= 1
        if self._ghosts[period.gateway]:
            return None
        del self._ghosts[period.gateway]
        return period.gateway
