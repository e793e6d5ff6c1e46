"""When a gateway compares a room with the stream, and when it announces the room's newest message to other gateways.

Pure. A comparison with the newest stored message of a room costs NATS about as much as a message. Nearly all rooms are
quiet, so those are compared seldom, and mostly only for messages stored since the turns before, which costs a third.
The replica that answers may lag, so a look goes back over two turns, and now and then a turn is a comparison again. A
gateway that has lost the newest message of a room learns it sooner from those that have it: while a
room is active they announce its newest sequence, and some more times afterwards, with pauses that double. One loss is
a sign of others, so after it all rooms are compared.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from studyroom.gateway.rooms.history import History
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.subjects import shard_of

ACTIVE_ROUNDS = 6
"""After its newest message a room is compared in this many rounds in a row."""
QUIET_EVERY = 16
"""Then it has its turn once in this many rounds, at another time than the rooms of other shards."""
_WHOLE_EVERY = 8
"""One in this many turns compares the newest message. In the others, a look for newer ones is enough."""
_ANNOUNCED = frozenset({0, 1, 2, 4, 8, 16})
"""How many rounds after its newest message a room is announced."""


class Hosted(Protocol):
    """The part of a room that the schedule reads."""

    id: RoomId
    history: History


R = TypeVar("R", bound=Hosted)


class Round(NamedTuple, Generic[R]):
    compare: list[R]
    """Rooms whose newest stored message is asked for."""
    look: list[R]
    """Rooms for which messages stored after `since` are asked for."""
    since: int
    """A sequence of the stream."""
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
    _lasts: deque[int] = field(default_factory=lambda: deque(maxlen=2 * QUIET_EVERY + 1))
    """The last sequence of the stream in this round and the ones before."""

    def replaced(self) -> None:
        """The stream is another one."""
        self._lasts.clear()
        self.suspicious = True

    def next_round(self, rooms: Iterable[R], last: int) -> Round[R]:
        """`rooms`: all hosted ones. `last`: the last sequence of the stream.

        A room that another gateway has announced since the last round is not announced.
        """
        self._number += 1
        self._lasts.append(last)
        compare: list[R] = []
        look: list[R] = []
        announce: list[R] = []
        before, self._seen = self._seen, {}
        suspicious, self.suspicious = self.suspicious, False
        for room in rooms:
            newest = room.history.newest_sequence
            seen = before.get(room)
            if seen is None or seen.newest != newest:
                seen = _Seen(newest)
            self._seen[room] = seen
            turn, rest = divmod(self._number + shard_of(room.id), QUIET_EVERY)
            if suspicious or seen.rounds < ACTIVE_ROUNDS or (rest == 0 and turn % _WHOLE_EVERY == 0):
                compare.append(room)
            elif rest == 0:
                look.append(room)
            announced = room.history.take_announced()
            if newest > announced and seen.rounds in _ANNOUNCED:
                announce.append(room)
            seen.rounds += 1
        return Round(compare, look, self._lasts[0], announce)
