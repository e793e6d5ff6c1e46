"""What gateways and presence say to each other: the entry of a member, and the requests about it."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict

from shared.ids import ConnectionId, GatewayId, RoomId, RoomIdField, UserId, UserIdField
from shared.messages import CursorPosition


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

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
    connections: dict[ConnectionId, GatewayId]
    """Empty during the grace period: then the key has a TTL."""

    def connections_of(self, gateway: GatewayId) -> set[ConnectionId]:
        return {connection for connection, its_gateway in self.connections.items() if its_gateway == gateway}


class Outcome(StrEnum):
    OK = "ok"
    UNAVAILABLE = "unavailable"
    """The replica cannot tell now (its mirror is being rebuilt, or NATS does not answer). Ask again."""
    FULL = "full"
    """The room has as many members as it may have."""
    INVALID = "invalid"
    """The request is not what this replica understands. Asking again will not help."""


class Place(_Part):
    """A connection in a room."""

    room: RoomIdField
    user: UserIdField
    connection: ConnectionId


class JoinRequest(Place):
    gateway: GatewayId
    profile: Profile
    with_roster: bool
    """False when the gateway hosts the room already and only needs the entry written."""


class LeaveRequest(Place):
    """Leaving where one is not is fine."""

    lost: bool = False
    """The connection was lost rather than left: its user keeps the place for the grace period."""


class RosterRequest(_Part):
    room: RoomIdField


class Member(_Part):
    user: UserId
    profile: Profile
    revision: int
    """Stream sequence of the change that this state of the member comes from."""
    cursor: CursorPosition | None = None


class RosterReply(_Part):
    """The members of a room as of `revision`: every change up to it is in, none after it."""

    outcome: Outcome
    epoch: str = ""
    revision: int = 0
    sequence: int = 0
    """For a join: the stream sequence of the join's own write, at most `revision`."""
    joined: Place | None = None
    """For a join: what was joined, so that an answer that comes late can be acted upon."""
    members: list[Member] | None = None
    """None when the roster was not asked for."""


class LeaveReply(_Part):
    outcome: Outcome


class CompleteRequest(_Part):
    """All connections that a gateway has in rooms of a shard, told after a doubt.

    Presence drops what it holds for the gateway beyond them, as far as it was written up to `revision`: what is newer
    may have been joined after the gateway counted.
    """

    gateway: GatewayId
    shard: int
    revision: int
    connections: set[ConnectionId]


class CompareRequest(_Part):
    """For each room that a gateway hosts in a shard, the newest revision it knows."""

    epoch: str
    rooms: dict[RoomIdField, int]


class CompareReply(_Part):
    outcome: Outcome
    epoch: str = ""
    revision: int = 0
    """What presence has applied."""
    newer: dict[RoomId, int] = {}
    """Rooms that changed since, with their newest revision; all that were asked about when the epoch is another."""
