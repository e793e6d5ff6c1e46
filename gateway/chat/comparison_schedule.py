"""When a gateway compares a room with the stream, and when it announces the room's newest message to other gateways.

Pure. A comparison costs the leader of the stream about as much as a message. Nearly all rooms are quiet, so those are
compared seldom. A gateway that has lost the newest message of a room learns it sooner from those that have it: while a
room is active they announce its newest sequence, and some more times afterwards, with pauses that double. One loss is
a sign of others, so after it all rooms are compared.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from studyroom.gateway.rooms.history import History
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.subjects import shard_of

ACTIVE_ROUNDS = 6
"""After its newest message a room is compared in this many rounds in a row."""
QUIET_EVERY = 16
"""Then it is compared in each round with a number that has this remainder for its shard."""
_ANNOUNCED = frozenset({0, 1, 2, 4, 8, 16})
"""How many rounds after its newest message a room is announced."""


class Hosted(Protocol):
    """The part of a room that the schedule reads."""

    id: RoomId
    history: History


R = TypeVar("R", bound=Hosted)


class Round(NamedTuple, Generic[R]):
    compare: list[R]
    announce: list[R]


@dataclass(slots=True)
class _Seen:
    newest: int
    rounds: int = 0
    """How many rounds the newest message has been the same."""


@dataclass(slots=True)
class ComparisonSchedule(Generic[R]):
    suspicious: bool = False
    """Something was lost or removed, so the next round compares all rooms."""
    _number: int = 0
    _seen: dict[R, _Seen] = field(default_factory=dict)

    def next_round(self, rooms: Iterable[R]) -> Round[R]:
        """`rooms`: all hosted ones. A room that another gateway has announced since the last round is not announced."""
        self._number += 1
        compare: list[R] = []
        announce: list[R] = []
        before, self._seen = self._seen, {}
        suspicious, self.suspicious = self.suspicious, False
        for room in rooms:
            newest = room.history.newest_sequence
            seen = before.get(room)
            if seen is None or seen.newest != newest:
                seen = _Seen(newest)
            self._seen[room] = seen
            if suspicious or seen.rounds < ACTIVE_ROUNDS or (self._number + shard_of(room.id)) % QUIET_EVERY == 0:
                compare.append(room)
            announced = room.history.take_announced()
            if newest > announced and seen.rounds in _ANNOUNCED:
                announce.append(room)
            seen.rounds += 1
        return Round(compare, announce)
