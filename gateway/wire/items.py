"""What a room sends to its members: frames, each with what it carries and when its cause was read. Pure."""

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What a frame carries. Numbers, since what is counted per kind is a list."""

    CHAT = 0
    CURSOR = 1
    TYPING = 2
    JOINED = 3
    UPDATED = 4
    LEFT = 5
    RESET = 6
    DELETED = 7


MESSAGE_TYPES = (
    "Chat",
    "CursorUpdate",
    "TypingStatus",
    "UserJoined",
    "UserUpdated",
    "UserLeft",
    "ChatReset",
    "ChatDeleted",
)
"""By kind."""
EPHEMERAL = frozenset({Kind.CURSOR, Kind.TYPING})
"""Whoever reads too slowly goes without these, and gets the newest of them once it has caught up."""


class Item(NamedTuple):
    frame: bytes
    kind: Kind
    ingress_us: int = 0
    """When the gateway of its author read it, Unix microseconds; 0 when nobody sent it."""
