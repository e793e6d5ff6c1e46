"""What gateways and presence say to each other: the entry of a member, and the requests about it."""

from enum import StrEnum
from hashlib import blake2b
from itertools import islice
from math import ceil
from typing import Self
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field

from studyroom.shared.contract.ids import GatewayId, MembershipId, RoomId, RoomIdField, UserId, UserIdField
from studyroom.shared.contract.messages import CursorPosition
from studyroom.shared.contract.subjects import shard_of

RENEWAL_SECONDS = 1.0
"""A gateway renews its lease so often."""
LEASE_SECONDS = 6
"""TTL of the lease, the key that says that a gateway is alive."""
LOST_SECONDS = 7.0
"""A gateway that has not renewed its lease for so long is given up, if NATS was well meanwhile. More than the lease, so
that a gateway knows that it may have been given up before it is."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def encode(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises pydantic's ValidationError."""
        return cls.model_validate_json(data)


class Profile(_Part):
    """How a member is shown to the others."""

    username: str
    avatar_url: str | None = None


class Entry(_Part):
    """The value of a presence key: a user is in a room for as long as one connection is."""

    profile: Profile
    connections: dict[MembershipId, GatewayId]
    """Empty during the grace period: then the key has a TTL."""

    def connections_of(self, gateway: GatewayId) -> set[MembershipId]:
        return {connection for connection, its_gateway in self.connections.items() if its_gateway == gateway}


class Outcome(StrEnum):
    OK = "ok"
    UNAVAILABLE = "unavailable"
    """The replica cannot tell now (its mirror is being rebuilt, or NATS does not answer). Ask again."""
    FULL = "full"
    """The room has as many members as it may have."""
    TOO_LONG = "too_long"
    """What is to be stored is longer than NATS takes: the user has too many connections in the room."""
    INVALID = "invalid"
    """The request is not what this replica understands. Asking again will not help."""


class RoomConnection(_Part):
    """A connection in a room."""

    room: RoomIdField
    user: UserIdField
    connection: MembershipId


class JoinRequest(RoomConnection):
    gateway: GatewayId
    profile: Profile
    with_roster: bool
    """False when the gateway hosts the room already and only needs the entry written."""
    again: bool = False
    """The connection was in the room before: it is put back, however full the room has become."""


class LeaveRequest(RoomConnection):
    """Leaving where one is not is fine."""

    lost: bool = False
    """The connection was lost rather than left: its user keeps the place for the grace period."""
    keep_seconds: int = Field(0, ge=0)
    """At least so long, if it was lost: the gateway has asked the client to come back, and not at once."""


class RosterRequest(_Part):
    room: RoomIdField


class Member(_Part):
    user: UserId
    profile: Profile
    revision: int
    """Stream sequence of the change that this state of the member comes from."""
    cursor: CursorPosition | None = None
    gateways: list[GatewayId] = []
    """Where it has connections."""


class RosterReply(_Part):
    """The members of a room as of `revision`: every change up to it is in, none after it."""

    outcome: Outcome
    epoch: str = ""
    revision: int = 0
    sequence: int = 0
    """For a join: the stream sequence of the join's own write, at most `revision`."""
    joined: RoomConnection | None = None
    """For a join: what was joined, so that an answer that comes late can be acted upon."""
    members: list[Member] | None = None
    """None when the roster was not asked for."""
    answer: str = ""
    parts: int = 1
    """A roster that is too large for one message comes in several, with parts of the members and one `answer` id."""
    room_revision: int = 0
    """Sequence of the room's newest change; 0 when that is not known."""
    room_digest: int = 0
    """`RoomState.digest` as of `revision`: whether a gateway that did not ask for the roster has heard every change."""
    storage_full: bool = False
    """With `unavailable`, for a join: there is no room for more members, whichever replica is asked."""
    guard_seconds: float = 0.0
    """How long a gateway that was cut off is waited for before it is given up."""


def split_roster(reply: RosterReply, answer: str, max_bytes: int) -> list[RosterReply]:
    """The reply in parts that encode to about `max_bytes` at the most, or the reply itself."""
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


class LeaveReply(_Part):
    outcome: Outcome


class CompleteReply(_Part):
    outcome: Outcome
    missing: set[MembershipId] | None = None
    """Those of the gateway's connections that presence does not have; None from a replica that does not say."""


class CompleteRequest(_Part):
    """All connections that a gateway has in rooms of a shard, told after a doubt.

    Presence drops what it holds for the gateway beyond them, as far as it was written up to `revision`: what is newer
    may have been joined after the gateway counted.
    """

    gateway: GatewayId
    shard: int
    epoch: str
    revision: int
    connections: set[MembershipId] | None
    """All of them. None where they are too many for one message: then it is about one part, and names `some`."""
    part: int = 0
    parts: int = 1
    """A connection is of the part that its CRC-32, modulo their number, gives."""
    some: set[MembershipId] = set()
    """All connections of this part."""

    def missing(self, held: set[MembershipId]) -> set[MembershipId]:
        """Of the gateway's connections that presence holds: those that it says, by this request, not to have."""
        if self.connections is not None:
            return held - self.connections
        return {membership_id for membership_id in held if _part_of(membership_id, self.parts) == self.part} - self.some

    def split(self, max_bytes: int) -> "list[CompleteRequest]":
        """Requests that together say the same, each of `max_bytes` at most. They may go to different replicas."""
        connections = self.connections or set()
        at_once = max(_STAYS_LEAST, (max_bytes - _COMPLETE_BYTES) // _STAY_BYTES)
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
"""Of a request without connections."""
_STAY_BYTES = 60
"""Of one of them: an id, a number of up to 20 digits, quotes and a comma."""
_STAYS_LEAST = 64


def _part_of(membership_id: MembershipId, parts: int) -> int:
    return crc32(membership_id.encode()) % parts


class RoomState(_Part):
    """What somebody knows of a room."""

    revision: int
    """Every change up to this one was taken in."""
    digest: int
    """`member_digest` of all members, joined by exclusive or."""


class CompareRequest(_Part):
    """Rooms that a gateway hosts in a shard."""

    epoch: str
    rooms: dict[RoomIdField, RoomState]

    def split(self, max_bytes: int) -> "list[CompareRequest]":
        """Requests about some of the rooms each; neither they nor their answers are longer than `max_bytes`."""
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
"""A room's id, a revision and a digest of 20 digits each, and their names."""


class CompareReply(_Part):
    outcome: Outcome
    epoch: str = ""
    revision: int = 0
    """What presence has applied."""
    newer: dict[RoomId, int] = {}
    """Rooms that changed since, with their newest revision; all that were asked about when the epoch is another."""
    wrong: list[RoomId] = []
    """Rooms that did not change since and yet have other members: something was lost."""


class RoomsRequest(_Part):
    """Rooms with members, ordered by shard and id: those behind a place."""

    shard: int
    after: str = ""
    """The last room that is known of this shard; empty for none."""
    limit: int


class RoomSummary(_Part):
    room: RoomId
    members: int


class RoomsReply(_Part):
    outcome: Outcome
    rooms: list[RoomSummary] = []
    next_shard: int | None = None
    """Where to go on, behind the last room if it is of that shard; None at the end."""


def cut_rooms(reply: RoomsReply, max_bytes: int) -> RoomsReply:
    """The reply, or its first rooms and where to go on, so that it encodes to `max_bytes` at most."""
    most = max(1, (max_bytes - _ROOMS_BYTES) // _SUMMARY_BYTES)
    if len(reply.rooms) <= most:
        return reply
    return reply.model_copy(update={"rooms": reply.rooms[:most], "next_shard": shard_of(reply.rooms[most - 1].room)})


_ROOMS_BYTES = 100
_SUMMARY_BYTES = 80
"""A room's id, and a number of members of ten digits."""


class RecallRequest(_Part):
    """Presence asks every gateway for the last cursors of its members in these shards."""

    shards: list[int]


def member_digest(user: UserId, revision: int) -> int:
    """64 bits that depend on both; two sides that joined the same ones by exclusive or have the same members."""
    return int.from_bytes(blake2b(f"{user} {revision}".encode(), digest_size=8).digest())
