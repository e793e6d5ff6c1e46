"""The members of all rooms as a pure state: changes in, rosters out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest

from studyroom.shared.contract.ids import GatewayId, MembershipId, RoomId, UserId
from studyroom.shared.contract.messages import CursorPosition
from studyroom.shared.contract.presence import Entry, Member, member_digest
from studyroom.shared.contract.subjects import shard_of

MARKERS_KEPT = 100_000
ROOM_REVISIONS_KEPT = 200_000
ENDED_KEPT = 50_000


UnreadCursor = Callable[[], CursorPosition | None]
"""Reads a cursor when somebody asks for it, because most are replaced before. Returns None if it is malformed."""


@dataclass(slots=True)
class CommittedMember:
    """A member of a room: the entry as committed at `revision`, and the last cursor that this replica received."""

    entry: Entry
    revision: int
    cursor: CursorPosition | UnreadCursor | None = None

    def last_cursor(self) -> CursorPosition | None:
        if callable(self.cursor):
            self.cursor = self.cursor()
        return self.cursor


@dataclass(slots=True)
class Mirror:
    """All rooms as of `applied`, the stream sequence of the last change.

    Apply changes in stream order. The mirror also keeps the sequences of the newest removals, because a compare-and-set
    on a removed key must expect the sequence of its delete marker. A user who returns then needs no extra round trip.
    """

    applied: int = 0
    rooms: dict[RoomId, dict[UserId, CommittedMember]] = field(default_factory=dict)
    _markers: dict[tuple[RoomId, UserId], int] = field(default_factory=dict)
    _gateways: dict[GatewayId, set[tuple[RoomId, UserId]]] = field(default_factory=dict)
    _room_revisions: dict[RoomId, int] = field(default_factory=dict)
    _digests: dict[RoomId, int] = field(default_factory=dict)
    _by_shard: dict[int, set[RoomId]] = field(default_factory=dict)
    _ended: dict[MembershipId, None] = field(default_factory=dict)
    """The memberships that have ended by a leave, oldest first."""

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
        self.set_marker(room, user, sequence)
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

    def end(self, membership: MembershipId) -> None:
        """Record that a membership has ended by a leave."""
        self._ended.pop(membership, None)
        self._ended[membership] = None
        if len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]

    @property
    def ended(self) -> Mapping[MembershipId, None]:
        """The memberships that have ended by a leave, oldest first."""
        return self._ended

    def has_ended(self, membership: MembershipId) -> bool:
        """Return whether the membership has ended by a leave, as far as the mirror remembers."""
        return membership in self._ended

    def catch_up(self, sequence: int) -> None:
        """Record that all changes up to `sequence` are applied, although the last ones are not about members."""
        self.applied = max(self.applied, sequence)

    def set_marker(self, room: RoomId, user: UserId, sequence: int) -> None:
        """Set the sequence of the delete marker of a user who is not a member, 0 for none."""
        self._markers.pop((room, user), None)
        if sequence:
            self._markers[room, user] = sequence
            if len(self._markers) > MARKERS_KEPT:
                del self._markers[next(iter(self._markers))]

    def entry(self, room: RoomId, user: UserId) -> Entry | None:
        member = self.rooms.get(room, {}).get(user)
        return member.entry if member else None

    def has_membership(self, room: RoomId, user: UserId, membership: MembershipId) -> bool:
        entry = self.entry(room, user)
        return entry is not None and membership in entry.connections

    def last_sequence(self, room: RoomId, user: UserId) -> int:
        """Return the sequence that a compare-and-set on this key must expect; 0 for a key that does not exist."""
        member = self.rooms.get(room, {}).get(user)
        return member.revision if member else self._markers.get((room, user), 0)

    def is_full(self, room: RoomId, capacity: int, *, joining: UserId) -> bool:
        """Return whether `joining` exceeds the capacity. A user who is a member already never does."""
        members = self.rooms.get(room, {})
        return len(members) >= capacity and joining not in members

    def gateways(self) -> list[GatewayId]:
        """Return the gateways that have a connection in any room."""
        return list(self._gateways)

    def members_of(self, gateway: GatewayId) -> list[tuple[RoomId, UserId]]:
        """Return the members that have a connection on this gateway."""
        return list(self._gateways.get(gateway, ()))

    def members_in_shard(self, shard: int, gateway: GatewayId) -> list[tuple[RoomId, UserId]]:
        """Return the members of one shard's rooms that have a connection on this gateway."""
        rooms = self._by_shard.get(shard, ())
        return [(room, user) for room, user in self._gateways.get(gateway, ()) if room in rooms]

    def room_revision(self, room: RoomId) -> int:
        """Return the sequence of the room's last change or removal; 0 if the mirror no longer remembers it."""
        return self._room_revisions.get(room, 0)

    def rooms_of(self, shard: int, *, after: str, limit: int) -> list[RoomId]:
        """Return up to `limit` rooms that have members and an id greater than `after`, in the order of their ids."""
        following = (room for room in self._by_shard.get(shard, ()) if room > after)
        return nsmallest(limit, following)

    def digest(self, room: RoomId) -> int:
        """Return a digest of the room's members and their revisions."""
        return self._digests.get(room, 0)

    def _touch(self, room: RoomId, sequence: int) -> None:
        self._room_revisions.pop(room, None)
        self._room_revisions[room] = sequence
        if len(self._room_revisions) > ROOM_REVISIONS_KEPT:
            del self._room_revisions[next(iter(self._room_revisions))]

    def _forget_gateways(self, room: RoomId, user: UserId, entry: Entry) -> None:
        for gateway in set(entry.connections.values()):
            members = self._gateways.get(gateway)
            if members is not None:
                members.discard((room, user))
                if not members:
                    del self._gateways[gateway]

    def move_cursor(self, room: RoomId, user: UserId, cursor: CursorPosition | UnreadCursor) -> None:
        """Set a member's last cursor. A user who is not in the room is ignored."""
        member = self.rooms.get(room, {}).get(user)
        if member is not None:
            member.cursor = cursor

    def inherit(self, older: "Mirror") -> None:
        """Take over what the stream does not have: the cursors of members, and which memberships have ended."""
        self._ended = {**older.ended, **self._ended}
        for room, user, member in older.all_members():
            if member.cursor is not None:
                self.move_cursor(room, user, member.cursor)

    def roster(self, room: RoomId) -> list[Member]:
        return [
            Member.model_construct(
                user=user,
                profile=member.entry.profile,
                revision=member.revision,
                cursor=member.last_cursor(),
                gateways=sorted(set(member.entry.connections.values())),
                fields=member.entry.fields,
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
