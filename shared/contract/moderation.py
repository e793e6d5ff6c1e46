"""Commands of moderators, as gateways store and exchange them."""

from enum import StrEnum
from typing import NamedTuple

from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.parts import JsonMessage

COMMAND_SECONDS = 86_400
"""TTL of commands that gateways carry out once. A gateway that is cut off for longer does not learn of the command."""


class Kind(StrEnum):
    BAN = "ban"
    """Ban a user from a room or from everything, until the ban is lifted or expires."""
    REMOVE = "remove"
    """Remove a user from a room, once."""
    DISCONNECT = "disconnect"
    """Disconnect a user, once."""


class Target(NamedTuple):
    kind: Kind
    user: UserId
    room: RoomId | None = None
    """None for all rooms."""

    @property
    def key(self) -> str:
        return subjects.moderation_key(self.kind, self.user, self.room)


class Command(JsonMessage):
    """The value of a key in the bucket. The key is the target."""

    by: str
    """The name of the API key, or the moderator's user id."""
    reason: str | None = None
    seconds: int | None = None
    until: int | None = None
    """The end in Unix seconds, for people to read. A ban ends `seconds` after its commit, by the clock of NATS."""


def target_of(subject: str) -> Target:
    """Return the target in the subject of a key or of its event. Raises ValueError."""
    kind, user, room = subjects.parse_moderation(subject)
    return Target(Kind(kind), user, room)
