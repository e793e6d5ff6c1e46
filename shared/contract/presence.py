"""The entry of a member in the presence bucket, and the requests of gateways to presence with their answers."""

from enum import StrEnum
from hashlib import blake2b
from itertools import islice
from math import ceil
from typing import Any
from zlib import crc32

from pydantic import Field

from studyroom.shared.contract.broadcasts import Json
from studyroom.shared.contract.ids import GatewayId, MembershipId, RoomId, RoomIdField, UserId, UserIdField
from studyroom.shared.contract.messages import CursorPosition
from studyroom.shared.contract.parts import JsonMessage
from studyroom.shared.contract.subjects import shard_of

RENEWAL_SECONDS = 1.0
"""How often a gateway renews its lease."""
LEASE_SECONDS = 6
"""TTL of a lease, the key that shows that a gateway is alive."""
LOST_SECONDS = 7.0
"""Presence drops a gateway that has not renewed its lease for so long, if NATS accepted writes meanwhile. It is more
than the TTL of the lease, so a gateway notices an expired lease before presence drops it."""


class Profile(JsonMessage):
    """The name and avatar that other members see."""

    username: str
    avatar_url: str | None = None


def _is_empty(value: dict[str, Any]) -> bool:
    return not value


class Entry(JsonMessage):
    """The value of a presence key: a member with all connections to the room."""

    profile: Profile
    connections: dict[MembershipId, GatewayId]
    """The gateway of each membership. It is empty during the grace period, when the key has a TTL."""
    fields: dict[str, Json] = Field(default={}, exclude_if=_is_empty)
    """The custom presence of the member, without nulls."""
    updates: dict[MembershipId, int] = Field(default={}, exclude_if=_is_empty)
    """The number of the last update of those fields by each membership."""

    def with_connections(self, connections: dict[MembershipId, GatewayId], profile: Profile | None = None) -> "Entry":
        """Return the entry with other connections, and another profile if there is one."""
        return Entry.model_construct(
            profile=profile or self.profile,
            connections=connections,
            fields=self.fields,
            updates={membership: number for membership, number in self.updates.items() if membership in connections},
        )

    def connections_of(self, gateway: GatewayId) -> set[MembershipId]:
        return {connection for connection, its_gateway in self.connections.items() if its_gateway == gateway}


class Outcome(StrEnum):
    OK = "ok"
    UNAVAILABLE = "unavailable"
    """The replica cannot answer now, because its mirror is not ready or NATS does not answer. Ask again."""
    FULL = "full"
    """The room has as many members as the limit allows."""
    TOO_LONG = "too_long"
    """The entry would be longer than NATS allows, because the user has too many connections to the room."""
    NOT_MEMBER = "not_member"
    """Presence does not have the membership. The gateway may be about to restore it."""
    TOO_LARGE = "too_large"
    """The custom presence of the user would be larger than the limit."""
    INVALID = "invalid"
    """This replica does not understand the request. Asking again does not help."""


class RoomConnection(JsonMessage):
    """A user's connection to a room, named by its membership."""

    room: RoomIdField
    user: UserIdField
    connection: MembershipId


class JoinRequest(RoomConnection):
    gateway: GatewayId
    profile: Profile
    with_roster: bool
    """Whether the answer must have the roster. A gateway that hosts the room already does not need it."""
    again: bool = False
    """Whether the connection was in the room before. Then presence restores it, even if the room is full."""
    fields: dict[str, Json] = Field(default={}, exclude_if=_is_empty)
    """The custom presence that a restored member had. It counts only if presence has lost the member."""


class LeaveRequest(RoomConnection):
    """Ends a membership. Presence answers `ok` even if there is no such membership."""

    lost: bool = False
    """Whether the connection was lost, so the user stays a member for the grace period."""
    keep_seconds: int = Field(0, ge=0)
    """The shortest grace period of a lost connection, because the gateway has asked the client to reconnect later."""


class UpdateRequest(RoomConnection):
    """Changes fields of a member's custom presence."""

    number: int
    """Grows with every update of a membership. Presence carries out no update that is older than the last one."""
    fields: dict[str, Json]
    """The fields that change. Null deletes a field."""
    max_bytes: int
    """The most that all fields of the member may take afterwards, as compact JSON."""


class UpdateReply(JsonMessage):
    outcome: Outcome
    epoch: str = ""
    sequence: int = 0
    """The stream sequence of the change, or of a later one of the member; 0 from a replica of an earlier release."""


class RosterRequest(JsonMessage):
    room: RoomIdField


class Member(JsonMessage):
    user: UserId
    profile: Profile
    revision: int
    """The stream sequence of the member's last change."""
    cursor: CursorPosition | None = None
    gateways: list[GatewayId] = Field(default_factory=list)
    """The gateways on which the member has connections."""
    fields: dict[str, Json] = Field(default={}, exclude_if=_is_empty)
    """The custom presence of the member."""


class RosterReply(JsonMessage):
    """The members of a room at `revision`: with every change up to it, and none after it."""

    outcome: Outcome
    epoch: str = ""
    revision: int = 0
    sequence: int = 0
    """After a join, the stream sequence of the join's own write. It is at most `revision`."""
    joined: RoomConnection | None = None
    """After a join, the connection that joined, so the gateway can undo a join whose answer comes too late."""
    members: list[Member] | None = None
    """The roster; None if the gateway did not ask for it."""
    answer: str = ""
    """The id that all parts of one answer have; empty if there is one part."""
    parts: int = 1
    """The number of messages of the answer. Each has some of the members."""
    room_revision: int = 0
    """The sequence of the room's newest change; 0 if it is unknown."""
    room_digest: int = 0
    """`RoomState.digest` at `revision`. A gateway without the roster compares it, to learn of lost changes."""
    storage_full: bool = False
    """Whether a join is `unavailable` because the bucket is full, at all replicas."""
    guard_seconds: float = 0.0
    """How long NATS must have accepted writes before presence drops a silent gateway."""


def split_roster(reply: RosterReply, answer: str, max_bytes: int) -> list[RosterReply]:
    """Split a reply into parts that encode to about `max_bytes` each. Return the reply itself if it is short enough."""
    members = reply.members or []
    parts, size = list[list[Member]]([[]]), 0
    for member in members:
        length = len(member.encode())
        if parts[-1] and size + length > max_bytes:
            parts.append([])
            size = 0
        parts[-1].append(member)
        size += length + 1
    if len(parts) == 1:
        return [reply]
    return [reply.model_copy(update={"members": part, "answer": answer, "parts": len(parts)}) for part in parts]


class LeaveReply(JsonMessage):
    outcome: Outcome


class CompleteReply(JsonMessage):
    outcome: Outcome
    missing: set[MembershipId] | None = None
    """The announced memberships that presence does not have; None from an older replica, which does not report them."""


class CompleteRequest(JsonMessage):
    """Announces all memberships that a gateway has in the rooms of a shard.

    Presence drops all others of the gateway, if their entries were not written after `revision`. Newer entries may be
    of joins after the announcement.
    """

    gateway: GatewayId
    shard: int
    epoch: str
    revision: int
    connections: set[MembershipId] | None
    """All memberships; None if they are too many for one message, so that each of several has a part in `some`."""
    part: int = 0
    parts: int = 1
    """The number of parts. The CRC-32 of a membership id modulo `parts` is the part that it belongs to."""
    some: set[MembershipId] = Field(default_factory=set)
    """All memberships of this part."""

    def missing(self, held: set[MembershipId]) -> set[MembershipId]:
        """Return those of the memberships in `held` that this request denies: it covers them without naming them."""
        if self.connections is not None:
            return held - self.connections
        return {membership_id for membership_id in held if _part_of(membership_id, self.parts) == self.part} - self.some

    def split(self, max_bytes: int) -> "list[CompleteRequest]":
        """Split the request into requests of at most `max_bytes` each, which may go to different replicas."""
        connections = self.connections or set()
        at_once = max(_MEMBERSHIPS_LEAST, (max_bytes - _COMPLETE_BYTES) // _MEMBERSHIP_BYTES)
        parts = ceil(len(connections) / at_once)
        if parts <= 1:
            return [self]
        while True:
            some = list[set[MembershipId]](set() for _ in range(parts))
            for membership_id in connections:
                some[_part_of(membership_id, parts)].add(membership_id)
            if max(map(len, some)) <= at_once:
                break
            parts += 1
        return [
            self.model_copy(update={"connections": None, "part": part, "parts": parts, "some": its})
            for part, its in enumerate(some)
        ]


_COMPLETE_BYTES = 300
"""The length of a request without memberships."""
_MEMBERSHIP_BYTES = 60
"""The length of a membership id with a number of up to 20 digits, quotes and a comma."""
_MEMBERSHIPS_LEAST = 64


def _part_of(membership_id: MembershipId, parts: int) -> int:
    return crc32(membership_id.encode()) % parts


class RoomState(JsonMessage):
    """The revision and the digest of a gateway's roster of a room."""

    revision: int
    """The sequence up to which the gateway has applied all changes."""
    digest: int
    """The exclusive or of the `member_digest` of all members."""


class CompareRequest(JsonMessage):
    """Asks whether the rosters of the rooms that a gateway hosts in a shard are right."""

    epoch: str
    rooms: dict[RoomIdField, RoomState]

    def split(self, max_bytes: int) -> "list[CompareRequest]":
        """Split the request by rooms, so that neither requests nor answers are longer than `max_bytes`."""
        at_once = max(1, (max_bytes - _COMPARE_BYTES) // _COMPARED_ROOM_BYTES)
        if len(self.rooms) <= at_once:
            return [self]
        rooms = iter(self.rooms.items())
        return [
            CompareRequest.model_construct(epoch=self.epoch, rooms=dict(some))
            for some in iter(lambda: list(islice(rooms, at_once)), [])
        ]


_COMPARE_BYTES = 300
_COMPARED_ROOM_BYTES = 120
"""The length of a room id, a revision and a digest of 20 digits each, and their names."""


class CompareReply(JsonMessage):
    outcome: Outcome
    epoch: str = ""
    revision: int = 0
    """The sequence up to which presence has applied all changes."""
    newer: dict[RoomId, int] = Field(default_factory=dict)
    """The newest revision of each room that has changed since. It has all rooms if the epoch has changed."""
    wrong: list[RoomId] = Field(default_factory=list)
    """Rooms that have other members although they have not changed since, so the gateway has lost a change."""


class RoomsRequest(JsonMessage):
    """Asks for rooms with members, in the order of shards and ids."""

    shard: int
    """The first shard to list."""
    after: str = ""
    """The last room of that shard that the gateway has already; empty for none."""
    limit: int
    """The most rooms to list."""


class RoomSummary(JsonMessage):
    room: RoomId
    members: int


class RoomsReply(JsonMessage):
    outcome: Outcome
    rooms: list[RoomSummary] = Field(default_factory=list)
    next_shard: int | None = None
    """The shard to continue with, after the last room if it is of that shard; None at the end."""


def truncate_rooms(reply: RoomsReply, max_bytes: int) -> RoomsReply:
    """Remove the last rooms of a reply that is longer than `max_bytes`, and set `next_shard` accordingly."""
    most = max(1, (max_bytes - _ROOMS_BYTES) // _SUMMARY_BYTES)
    if len(reply.rooms) <= most:
        return reply
    return reply.model_copy(update={"rooms": reply.rooms[:most], "next_shard": shard_of(reply.rooms[most - 1].room)})


_ROOMS_BYTES = 100
_SUMMARY_BYTES = 80
"""The length of a room id, and of a number of members with ten digits."""


class RecallRequest(JsonMessage):
    """Presence asks every gateway for the last cursors of its members in these shards."""

    shards: list[int]


def member_digest(user: UserId, revision: int) -> int:
    """Return 64 bits that depend on both. If two rosters have the same exclusive or of them, they are the same."""
    return int.from_bytes(blake2b(f"{user} {revision}".encode(), digest_size=8).digest())
