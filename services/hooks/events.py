"""Events as the log has them, and the bodies that the backend gets. Pure.

The log has no text of a chat message, only where it is. So a deleted message is nowhere else, and a delivery has the
text only while the message is stored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.parts import JsonMessage


class EventType(StrEnum):
    MEMBER_JOINED = "member.joined"
    MEMBER_LEFT = "member.left"
    ROOM_OCCUPIED = "room.occupied"
    ROOM_EMPTY = "room.empty"
    MESSAGE_CREATED = "message.created"
    MESSAGE_EDITED = "message.edited"
    MESSAGE_DELETED = "message.deleted"
    DOCUMENT_SAVED = "document.saved"
    MESSAGES_ERASED = "messages.erased"
    ROOM_ERASED = "room.erased"
    USER_ERASED = "user.erased"
    """The only one that is about no room. The log has it as an event of the user's fingerprint."""


class SourceName(StrEnum):
    CHAT = "chat"
    MEMBERS = "members"
    DOCUMENTS = "documents"
    ERASURES = "erasures"
    """Requests of gateways. No stream has them."""


NEEDED_FOR = {
    SourceName.CHAT: {EventType.MESSAGE_CREATED, EventType.MESSAGE_EDITED, EventType.MESSAGE_DELETED},
    SourceName.MEMBERS: {
        EventType.MEMBER_JOINED, EventType.MEMBER_LEFT, EventType.ROOM_OCCUPIED, EventType.ROOM_EMPTY,
    },
    SourceName.DOCUMENTS: {EventType.DOCUMENT_SAVED},
}  # fmt: skip
"""The events that are made from each stream."""


class Event(JsonMessage):
    """An event in the log."""

    id: str
    """The `webhook-id`. It is the same in every attempt and in replays."""
    type: EventType
    time: str
    """When it was committed, RFC 3339."""
    source: SourceName
    position: int
    """The sequence in the source from which the event was made; 0 for requests."""
    data: dict[str, Any]
    """The fields that the backend gets, or for chat the place of the message."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An event with its place in the log."""

    sequence: int
    stored: str
    """When it was stored in the log, RFC 3339."""
    room: RoomId
    event: Event

    @property
    def user(self) -> UserId | None:
        """The user whom the event names."""
        user = self.event.data.get("user_id")
        return UserId(user) if user is not None else None


def event_id(*parts: object) -> str:
    """Return the same id for the same parts. The parts together must be of one event only."""
    return "msg_" + blake2b(json.dumps([str(part) for part in parts]).encode(), digest_size=16).hexdigest()


def body_of(logged: Logged, message: Mapping[str, Any] | None) -> bytes:
    """Return the body of the request.

    `message`: the payload of the chat message, edit or deletion; None if it is gone, and for events of other kinds.
    """
    event = logged.event
    data = {**event.data}
    if message is not None:
        data.update(message)
    elif event.source is SourceName.CHAT:
        data["erased"] = True
    if event.type is not EventType.USER_ERASED:
        data = {"room_id": logged.room, **data}
    whole = {"type": event.type.value, "timestamp": event.time, "sequence": logged.sequence, "data": data}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
