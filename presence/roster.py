"""Who is in which room, as a pure state: changes in, rosters out."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.ids import RoomId, UserId
from shared.messages import CursorPosition
from shared.presence import Entry, Member

MARKERS_KEPT = 100_000


@dataclass(slots=True)
class Seat:
    """A member of a room: the entry as committed at `revision`, and the last cursor heard of."""

    entry: Entry
    revision: int
    cursor: CursorPosition | None = None


@dataclass(slots=True)
class Mirror:
    """All rooms as of `applied`, the stream sequence of the last change taken in.

    Changes must come in stream order. The sequences of removals are kept too, since a compare-and-set on a removed
    key has to expect its marker; only the newest, as a hint that saves a round trip for those who come back.
    """

    applied: int = 0
    rooms: dict[RoomId, dict[UserId, Seat]] = field(default_factory=dict)
    _markers: dict[tuple[RoomId, UserId], int] = field(default_factory=dict)

    def put(self, room: RoomId, user: UserId, entry: Entry, sequence: int) -> None:
        self.applied = max(self.applied, sequence)
        self._markers.pop((room, user), None)
        members = self.rooms.setdefault(room, {})
        seat = members.get(user)
        if seat is None:
            members[user] = Seat(entry, sequence)
        else:
            seat.entry, seat.revision = entry, sequence

    def remove(self, room: RoomId, user: UserId, sequence: int) -> None:
        self.applied = max(self.applied, sequence)
        self.correct_marker(room, user, sequence)
        members = self.rooms.get(room)
        if members is not None:
            members.pop(user, None)
            if not members:
                del self.rooms[room]

    def catch_up(self, sequence: int) -> None:
        """Everything up to `sequence` has been taken in, though the last of it is not ours."""
        self.applied = max(self.applied, sequence)

    def correct_marker(self, room: RoomId, user: UserId, sequence: int) -> None:
        """The key has no member now and this is the sequence of its last message, 0 for none."""
        self._markers.pop((room, user), None)
        if sequence:
            self._markers[room, user] = sequence
            if len(self._markers) > MARKERS_KEPT:
                del self._markers[next(iter(self._markers))]

    def entry(self, room: RoomId, user: UserId) -> Entry | None:
        seat = self.rooms.get(room, {}).get(user)
        return seat.entry if seat else None

    def last_sequence(self, room: RoomId, user: UserId) -> int:
        """What a compare-and-set on this key has to expect; 0 for a key that does not exist."""
        seat = self.rooms.get(room, {}).get(user)
        return seat.revision if seat else self._markers.get((room, user), 0)

    def move_cursor(self, room: RoomId, user: UserId, cursor: CursorPosition) -> None:
        """Nothing happens for someone who is not in the room."""
        seat = self.rooms.get(room, {}).get(user)
        if seat is not None:
            seat.cursor = cursor

    def inherit_cursors(self, older: "Mirror") -> None:
        for room, user, seat in older.seats():
            if seat.cursor is not None:
                self.move_cursor(room, user, seat.cursor)

    def roster(self, room: RoomId) -> list[Member]:
        return [
            Member.model_construct(user=user, profile=seat.entry.profile, revision=seat.revision, cursor=seat.cursor)
            for user, seat in self.rooms.get(room, {}).items()
        ]

    def seats(self) -> Iterator[tuple[RoomId, UserId, Seat]]:
        for room, members in self.rooms.items():
            for user, seat in members.items():
                yield room, user, seat

    @property
    def room_count(self) -> int:
        return len(self.rooms)

    @property
    def member_count(self) -> int:
        return sum(len(members) for members in self.rooms.values())
