"""What becomes of the places that are kept for members who were lost: they return, or their time runs out.

Pure, and only for metrics: the time itself is NATS's. A replica knows of the places it has kept; what became of all
is the sum over replicas.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.presence import Entry


class GraceOutcome(StrEnum):
    RETURNED = "returned"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class _Kept:
    sequence: int
    gateway: GatewayId | None
    """The dead gateway whose member this was; None when only the connection was lost."""


@dataclass(slots=True)
class Graces:
    ended: Callable[[GraceOutcome], None]
    ghosts_gone: Callable[[GatewayId], None]
    """Called when the last place kept for a member of a dead gateway has ended."""
    _kept: dict[tuple[RoomId, UserId], _Kept] = field(default_factory=dict)
    _ghosts: dict[GatewayId, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._kept)

    def keeps_of(self, gateway: GatewayId) -> bool:
        """Places are kept for members of this dead gateway."""
        return gateway in self._ghosts

    def forget(self) -> None:
        """The stream was replaced: what was kept in it is unknown."""
        self._kept.clear()
        self._ghosts.clear()

    def begin(self, room: RoomId, user: UserId, sequence: int, gateway: GatewayId | None) -> None:
        """An entry with a TTL was written with this stream sequence."""
        self._end(room, user)
        self._kept[room, user] = _Kept(sequence, gateway)
        if gateway is not None:
            self._ghosts[gateway] = self._ghosts.get(gateway, 0) + 1

    def changed(self, room: RoomId, user: UserId, sequence: int, entry: Entry | None) -> None:
        """A committed change; `entry` is None for a removal. Changes that are not newer than the place are fine."""
        kept = self._kept.get((room, user))
        if kept is None or sequence <= kept.sequence:
            return
        if entry is None:
            self.ended(GraceOutcome.EXPIRED)
        elif entry.connections:
            self.ended(GraceOutcome.RETURNED)
        self._end(room, user)

    def _end(self, room: RoomId, user: UserId) -> None:
        kept = self._kept.pop((room, user), None)
        if kept is None or kept.gateway is None:
            return
        self._ghosts[kept.gateway] -= 1
        if not self._ghosts[kept.gateway]:
            del self._ghosts[kept.gateway]
            self.ghosts_gone(kept.gateway)
