"""What moderators have ordered, as gateways store it and tell each other."""

from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict

from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, UserId

COMMAND_SECONDS = 86_400
"""TTL of what is to be done once: a gateway that is cut off for longer, and keeps its clients, does not learn of it."""


class Kind(StrEnum):
    BAN = "ban"
    """Holds until it is lifted or its time is over; from a room, or from everything."""
    REMOVE = "remove"
    """Out of a room, once."""
    DISCONNECT = "disconnect"
    """Once."""


class Target(NamedTuple):
    kind: Kind
    user: UserId
    room: RoomId | None = None
    """None: everywhere."""

    @property
    def key(self) -> str:
        return subjects.moderation_key(self.kind, self.user, self.room)


class Command(BaseModel):
    """The value of a key; the key is its target."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    by: str
    """The API key, or the moderator."""
    reason: str | None = None
    seconds: int | None = None
    until: int | None = None
    """Unix seconds, for people. A ban ends `seconds` after its commit, by the clock of NATS."""

    def encode(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ValueError."""
        return cls.model_validate_json(data)


def target_of(subject: str) -> Target:
    """Of a key, or of the event that tells of it. Raises ValueError."""
    kind, user, room = subjects.parse_moderation(subject)
    return Target(Kind(kind), user, room)
