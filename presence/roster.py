"""Who is in which room, as a pure state: changes in, rosters out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import nsmallest

from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.messages import CursorPosition
from studyroom.shared.contract.presence import Entry, Member, member_digest
from studyroom.shared.contract.subjects import shard_of

MARKERS_KEPT = 100_000
ROOM_REVISIONS_KEPT = 200_000


@dataclass(slots=True)
class CommittedMember:
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
    rooms: dict[RoomId, dict[UserId, CommittedMember]] = field(default_factory=dict)
    _markers: dict[tuple[RoomId, UserId], int] = field(default_factory=dict)
    _gateways: dict[GatewayId, set[tuple[RoomId, UserId]]] = field(default_factory=dict)
    _room_revisions: dict[RoomId, int] = field(default_factory=dict)
    _digests: dict[RoomId, int] = field(default_factory=dict)
    _by_shard: dict[int, set[RoomId]] = field(default_factory=dict)

    def put(self, room: RoomId, user: UserId, entry: Entry, sequence: int) -> None:
        self.applied = max(self.applied, sequence)
        self._markers.pop((room, user), None)
        self._touch(room, sequence)
        members = self.rooms.get(room)
        if members is None:
            members = self.rooms[room] = {}
            self._by_shard.setdefault(shard_of(room), set()).add(room)
        member = members.get(user)
        if member is None:
            members[user] = CommittedMember(entry, sequence)
        else:
            self._forget_gateways(room, user, member.entry)
            self._digests[room] ^= member_digest(user, member.revision)
            member.entry, member.revision = entry, sequence
        self._digests[room] = self.digest(room) ^ member_digest(user, sequence)
        for gateway in entry.connections.values():
            self._gateways.setdefault(gateway, set()).add((room, user))

    def remove(self, room: RoomId, user: UserId, sequence: int) -> None:
        self.applied = max(self.applied, sequence)
        self.correct_marker(room, user, sequence)
        self._touch(room, sequence)
        members = self.rooms.get(room)
        if members is not None:
            member = members.pop(user, None)
            if member is not None:
                self._forget_gateways(room, user, member.entry)
                self._digests[room] ^= member_digest(user, member.revision)
            if not members:
                del self.rooms[room]
                self._digests.pop(room, None)
                self._by_shard[shard_of(room)].discard(room)

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
        member = self.rooms.get(room, {}).get(user)
        return member.entry if member else None

    def last_sequence(self, room: RoomId, user: UserId) -> int:
        """What a compare-and-set on this key has to expect; 0 for a key that does not exist."""
        member = self.rooms.get(room, {}).get(user)
        return member.revision if member else self._markers.get((room, user), 0)

    def is_full(self, room: RoomId, capacity: int, *, but: UserId) -> bool:
        """There is no place for one more member; who is in the room already (`but`) always has one."""
        members = self.rooms.get(room, {})
        return len(members) >= capacity and but not in members

    def gateways(self) -> list[GatewayId]:
        """Those that have a connection in any room."""
        return list(self._gateways)

    def places_of(self, gateway: GatewayId) -> list[tuple[RoomId, UserId]]:
        """Members that are present by a connection of this gateway."""
        return list(self._gateways.get(gateway, ()))

    def places_in(self, shard: int, gateway: GatewayId) -> list[tuple[RoomId, UserId]]:
        """The same in one shard."""
        rooms = self._by_shard.get(shard, ())
        return [place for place in self._gateways.get(gateway, ()) if place[0] in rooms]

    def room_revision(self, room: RoomId) -> int:
        """Sequence of the room's last change, removals included; 0 when that was too long ago to remember."""
        return self._room_revisions.get(room, 0)

    def rooms_of(self, shard: int, *, after: str, limit: int) -> list[RoomId]:
        """Up to `limit` rooms that have members, in the order of their ids, behind `after`."""
        behind = (room for room in self._by_shard.get(shard, ()) if room > after)
        return nsmallest(limit, behind)

    def digest(self, room: RoomId) -> int:
        """Of the members and their revisions."""
        return self._digests.get(room, 0)

    def _touch(self, room: RoomId, sequence: int) -> None:
        self._room_revisions.pop(room, None)
        self._room_revisions[room] = sequence
        if len(self._room_revisions) > ROOM_REVISIONS_KEPT:
            del self._room_revisions[next(iter(self._room_revisions))]

    def _forget_gateways(self, room: RoomId, user: UserId, entry: Entry) -> None:
        for gateway in set(entry.connections.values()):
            places = self._gateways.get(gateway)
            if places is not None:
                places.discard((room, user))
                if not places:
                    del self._gateways[gateway]

    def move_cursor(self, room: RoomId, user: UserId, cursor: CursorPosition) -> None:
        """Nothing happens for someone who is not in the room."""
        member = self.rooms.get(room, {}).get(user)
        if member is not None:
            member.cursor = cursor

    def inherit_cursors(self, older: "Mirror") -> None:
        for room, user, member in older.all_members():
            if member.cursor is not None:
                self.move_cursor(room, user, member.cursor)

    def roster(self, room: RoomId) -> list[Member]:
        return [
            Member.model_construct(
                user=user,
                profile=member.entry.profile,
                revision=member.revision,
                cursor=member.cursor,
                gateways=sorted(set(member.entry.connections.values())),
            )
            for user, member in self.rooms.get(room, {}).items()
        ]

    def all_members(self) -> Iterator[tuple[RoomId, UserId, CommittedMember]]:
        for room, members in self.rooms.items():
            for user, member in members.items():
                yield room, user, member

    @property
    def room_count(self) -> int:
        return len(self.rooms)

    @property
    def member_count(self) -> int:
        return sum(len(members) for members in self.rooms.values())
