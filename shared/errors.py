"""Error codes: the stable part of every refusal. The message beside a code is for people and may change."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Sent as `Error.code` over the WebSocket and as `code` in the JSON body of a refused HTTP request."""

    INVALID_JSON = "invalid_json"
    """The frame is not JSON."""
    UNKNOWN_TYPE = "unknown_type"
    """JSON, but no message of this protocol: `type` is missing or unknown."""
    INVALID_MESSAGE = "invalid_message"
    """A known type with a missing or wrong field; the message names the field."""
    CHAT_EMPTY = "chat_empty"
    CHAT_TOO_LONG = "chat_too_long"
    NOT_IN_ROOM = "not_in_room"
    """A room message while the connection is in no room."""
    BUSY = "busy"
    """Too many messages were sent while a join was under way; this one was not acted upon."""
    ROOM_FULL = "room_full"
    """The room has as many members as it may have; the connection is in no room."""
    PRESENCE_UNAVAILABLE = "presence_unavailable"
    """The join could not be completed in time; the connection is in no room, try again."""
    CHAT_UNAVAILABLE = "chat_unavailable"
    """The outcome of this chat message is unknown; send it again with the same `id`."""
    INTERNAL = "internal"
    """Our fault; the connection is usable."""

    UNAUTHORIZED = "unauthorized"
    """The handshake carried no valid token."""
    NOT_FOUND = "not_found"
    BAD_HANDSHAKE = "bad_handshake"
    """The upgrade request is not what RFC 6455 section 4.2.1 asks for."""
    UPGRADE_REQUIRED = "upgrade_required"
    """A WebSocket address was asked for over plain HTTP, or with an unsupported version."""
    HEADERS_TOO_LARGE = "headers_too_large"
    DRAINING = "draining"
    """This gateway is about to stop; connect again and another one answers."""
