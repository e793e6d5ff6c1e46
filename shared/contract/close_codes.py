"""Close codes of WebSocket connections, and the rule for reconnecting after each.

Codes below 4000 are from RFC 6455 section 7.4.1 and the IANA registry. Studyroom's own codes are in ranges, so a client
that does not know a code still knows the rule:

    4000-4499   reconnect and resume
    4500-4999   do not reconnect automatically
"""

import re
from enum import Enum, IntEnum

from studyroom.shared.contract.ids import RoomId


class CloseCode(IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    """Never sent: the peer's close frame carried no code."""
    ABNORMAL = 1006
    """Never sent: the socket went away without a close frame."""
    INVALID_TEXT = 1007
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    """The gateway drains, or asks the client to move. The reason may carry hints, see `reconnect_hint`."""

    SLOW_CONSUMER = 4000
    """The client read too slowly, and too many messages for it were waiting."""
    PING_TIMEOUT = 4001
    """The client sent nothing, not even a pong."""
    TOKEN_EXPIRED = 4002
    """The access token has expired, or its replacement does not allow the room. The client needs a new token."""
    IDLE = 4003
    """The client was outside rooms and sent nothing for a long time. It may reconnect when it needs something."""
    CHANNEL_REFUSED = 4004
    """Only of channels: the connection, the user or the address has as many as the limits allow."""

    FLOOD = 4500
    """The client sent far more than its limits allow."""
    DISCONNECTED = 4501
    """A moderator has disconnected the user, who may reconnect by hand."""
    BANNED = 4502
    """The user is banned. Every handshake is refused until the ban ends."""
    DOCUMENT_DELETED = 4503
    """Only of editors: the shared document was deleted, or the editor has sent contents of one that was."""


FINAL_CODES = frozenset({CloseCode.NORMAL, CloseCode.DISCONNECTED, CloseCode.BANNED})
"""After these codes there is no grace period: the user leaves at once, because nobody expects a reconnect."""


class Reconnect(Enum):
    RESUME = "connect again and resume"
    NEVER = "do not connect again"


_TERMINAL_STANDARD_CODES = frozenset(
    {
        CloseCode.NORMAL,
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_TEXT,
        CloseCode.MESSAGE_TOO_BIG,
    }
)
_TERMINAL_RANGE = range(4500, 5000)


def reconnect_rule(code: int) -> Reconnect:
    """Return what a client should do after a close with this code, for any integer."""
    if code in _TERMINAL_STANDARD_CODES or code in _TERMINAL_RANGE:
        return Reconnect.NEVER
    return Reconnect.RESUME


_HINT = re.compile(r"reconnect_after_ms=(\d+)")


def reconnect_hint(after_ms: int, room_hint: RoomId | None = None) -> str:
    """Return the close reason that asks a client to wait so many milliseconds before it reconnects.

    `room_hint`: the hint to send in the address from then on, if it is another one.
    """
    return f"reconnect_after_ms={after_ms}" + (f" room_hint={room_hint}" if room_hint is not None else "")


def parse_reconnect_hint(reason: str) -> int | None:
    """Return the milliseconds to wait; None if the reason has no hint."""
    found = _HINT.search(reason)
    return int(found[1]) if found else None
