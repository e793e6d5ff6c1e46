"""A client for Python programs: rooms with chat, cursors and presence over a connection that reconnects by itself.

It uses the contract and nothing else of this project. `docs/how-to/python.md` shows how to use it.
"""

from studyroom.client.client import Client
from studyroom.client.core.backoff import Backoff
from studyroom.client.core.liveness import Heartbeat
from studyroom.client.errors import EventsLost, StudyroomError
from studyroom.client.events import (
    BroadcastReceived,
    ChatEdited,
    ChatFailed,
    ChatReacted,
    ChatReceived,
    ChatRemoved,
    Connected,
    CursorMoved,
    Disconnected,
    ErrorReceived,
    Event,
    HistoryReset,
    Joined,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    PresenceUpdated,
    TypingChanged,
)
from studyroom.client.subscription import Subscription
from studyroom.client.values import (
    ChatMessage,
    ConnectionState,
    ConnectionStatus,
    Cursor,
    Failure,
    Limits,
    Member,
    Reaction,
    RoomState,
    RoomStatus,
)

__all__ = [
    "Backoff",
    "BroadcastReceived",
    "ChatEdited",
    "ChatFailed",
    "ChatMessage",
    "ChatReacted",
    "ChatReceived",
    "ChatRemoved",
    "Client",
    "Connected",
    "ConnectionState",
    "ConnectionStatus",
    "Cursor",
    "CursorMoved",
    "Disconnected",
    "ErrorReceived",
    "Event",
    "EventsLost",
    "Failure",
    "Heartbeat",
    "HistoryReset",
    "Joined",
    "Limits",
    "Member",
    "MemberJoined",
    "MemberLeft",
    "MemberUpdated",
    "PresenceUpdated",
    "Reaction",
    "RoomState",
    "RoomStatus",
    "StudyroomError",
    "Subscription",
    "TypingChanged",
]
