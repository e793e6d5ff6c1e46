"""The items that a room sends to its members: frames with their kind and ingress time. Pure."""

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """The message in a frame. The values are indexes of lists of counters."""

    CHAT = 0
    CURSOR = 1
    TYPING = 2
    JOINED = 3
    UPDATED = 4
    LEFT = 5
    RESET = 6
    DELETED = 7
    BROADCAST = 8
    PRESENCE = 9
    EDITED = 10
    REACTION = 11


MESSAGE_TYPES = (
    "Chat",
    "CursorUpdate",
    "TypingStatus",
    "UserJoined",
    "UserUpdated",
    "UserLeft",
    "ChatReset",
    "ChatDeleted",
    "Broadcast",
    "PresenceChanged",
    "ChatEdited",
    "ChatReaction",
)
"""The type of each kind."""
EPHEMERAL = frozenset({Kind.CURSOR, Kind.TYPING, Kind.BROADCAST})
"""Slow consumers get none of these until they have caught up, and then the newest."""


class Item(NamedTuple):
    frame: bytes
    kind: Kind
    ingress_us: int = 0
    """When the author's gateway read it, in Unix microseconds; 0 for items without an author."""
