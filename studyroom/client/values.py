"""The values that a client shows: members, messages, states and limits. All are immutable."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Presence = Mapping[str, Any]
"""Custom presence: fields by name, with JSON values. In a change, None deletes a field."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why something has failed. `code` is for programs, `message` for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the server. The defaults are those of a server that names none."""

    message_bytes: int = 65_536
    """The largest message of the protocol, in bytes of UTF-8."""
    chat_chars: int = 4000
    """The longest chat message, in code points: `len(text)`."""
    history_length: int = 50
    """How many of the newest messages a newcomer gets at most."""
    living_chat: bool = False
    """Whether members may edit, delete, react, reply and mention."""


@dataclass(frozen=True, slots=True)
class Member:
    user_id: str
    username: str
    avatar_url: str | None
    presence: Presence


@dataclass(frozen=True, slots=True)
class Cursor:
    x: float
    y: float
    element_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reaction:
    """The users that have reacted to a message in the same way."""

    reaction: str
    count: int
    user_ids: tuple[str, ...]
    """The first 50 of them, and those whose reaction came since."""
    own: bool
    """Whether the user of the client is among them."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message as its edits and reactions have made it."""

    id: str
    user_id: str
    username: str
    content: str
    own: bool
    timestamp: int | None = None
    """Unix seconds; None until the message is stored."""
    seq: int | None = None
    """The position in the room's chat; None until the message is stored."""
    reply_to: str | None = None
    """The id of the message that this one replies to. That message may be gone."""
    mentions: tuple[str, ...] = ()
    """The ids of the users that it mentions."""
    edited_at: int | None = None
    """Unix seconds; None if it was never edited."""
    reactions: tuple[Reaction, ...] = ()
    """In the order in which they came first."""

    @property
    def is_stored(self) -> bool:
        return self.seq is not None


class RoomStatus(StrEnum):
    NONE = "none"
    """No room is wanted."""
    JOINING = "joining"
    """The room is wanted, and the user is not in it now."""
    JOINED = "joined"
    REFUSED = "refused"
    """The client does not try again by itself. `join` does."""


@dataclass(frozen=True, slots=True)
class RoomState:
    status: RoomStatus = RoomStatus.NONE
    room_id: str | None = None
    """None if no room is wanted."""
    failure: Failure | None = None
    """Why the room is refused."""


class ConnectionStatus(StrEnum):
    IDLE = "idle"
    """The client has not been entered yet."""
    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    """For the next attempt."""
    CLOSED = "closed"
    """For good: by the program, or for a cause that another attempt would meet again."""


@dataclass(frozen=True, slots=True)
class ConnectionState:
    status: ConnectionStatus = ConnectionStatus.IDLE
    failure: Failure | None = None
    """Why the last connection ended or could not be opened, while there is none."""
    code: int | None = None
    """The close code of the last connection, while there is none."""
