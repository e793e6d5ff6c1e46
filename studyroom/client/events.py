"""The events of a client. `async for event in client.events()` gives them in order."""

from dataclasses import dataclass
from typing import Any

from studyroom.client.values import ChatMessage, Cursor, Failure, Member, Presence


@dataclass(frozen=True, slots=True)
class Connected:
    """The server has sent `Welcome`."""

    user_id: str
    connection_id: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection is lost or could not be opened. `reconnects`: the client tries again by itself."""

    code: int
    reason: str
    reconnects: bool
    failure: Failure


@dataclass(frozen=True, slots=True)
class Joined:
    """The user is in the room, for the first time or again. `Client.members` has the others.

    `recovered`: whether all missed messages follow. It is None for a newcomer.
    """

    room_id: str
    recovered: bool | None


@dataclass(frozen=True, slots=True)
class MemberJoined:
    member: Member


@dataclass(frozen=True, slots=True)
class MemberUpdated:
    """The name, the avatar or the presence of another member has changed."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLeft:
    member: Member


@dataclass(frozen=True, slots=True)
class PresenceUpdated:
    """The user's own presence has changed at the server, by this client or another one of the user.

    `fields`: those that have changed, with None for those that were deleted.
    """

    fields: Presence


@dataclass(frozen=True, slots=True)
class ChatReceived:
    """A stored message, each once. `live`: it is new, and not one of those that the room or a resume gives back."""

    message: ChatMessage
    live: bool


@dataclass(frozen=True, slots=True)
class ChatRemoved:
    """A message was deleted: stop showing it. `seq` is its position."""

    id: str
    seq: int


@dataclass(frozen=True, slots=True)
class ChatEdited:
    """The author has edited a message that the client has. `message`: as it is now."""

    message: ChatMessage


@dataclass(frozen=True, slots=True)
class ChatReacted:
    """A user has reacted to a message that the client has, or has taken a reaction back. `message`: as it is now."""

    message: ChatMessage
    user_id: str
    reaction: str
    is_on: bool


@dataclass(frozen=True, slots=True)
class ChatFailed:
    """An own message is not stored, or nobody knows whether it is. `Client.chat` raises the same."""

    message: ChatMessage
    failure: Failure


@dataclass(frozen=True, slots=True)
class HistoryReset:
    """Messages may be missing before those that follow, and `Client.messages` starts over."""


@dataclass(frozen=True, slots=True)
class CursorMoved:
    user_id: str
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class TypingChanged:
    user_id: str
    is_typing: bool


@dataclass(frozen=True, slots=True)
class BroadcastReceived:
    user_id: str
    event: str
    data: Any
    key: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorReceived:
    """The server has refused something. For chat, `ChatFailed` follows if the message fails for good."""

    failure: Failure


Event = (
    Connected
    | Disconnected
    | Joined
    | MemberJoined
    | MemberUpdated
    | MemberLeft
    | PresenceUpdated
    | ChatReceived
    | ChatRemoved
    | ChatEdited
    | ChatReacted
    | ChatFailed
    | HistoryReset
    | CursorMoved
    | TypingChanged
    | BroadcastReceived
    | ErrorReceived
)
