"""What gateways and presence say to each other: the entry of a member, and the requests about it."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict

from shared.ids import ConnectionId, GatewayId, RoomIdField, UserId, UserIdField
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


class Outcome(StrEnum):
    OK = "ok"
    UNAVAILABLE = "unavailable"
    """The replica cannot tell now (its mirror is being rebuilt, or NATS does not answer). Ask again."""
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
