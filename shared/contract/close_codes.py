"""Why a connection was closed, and what the client should do about it.

Below 4000 the codes are those of RFC 6455 section 7.4.1 and the IANA registry. Ours are in ranges, so that a
client that does not know a code still knows the rule:

    4000-4499   connect again and resume
    4500-4999   do not connect again by yourself
"""

import re
from enum import Enum, IntEnum


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
    """The gateway drains. The reason may carry a reconnect hint, see `reconnect_hint`."""

    SLOW_CONSUMER = 4000
    """The client did not read what it was sent."""
    PING_TIMEOUT = 4001
    """Nothing was heard from the client, not even a pong."""
    TOKEN_EXPIRED = 4002
    """The access token has expired, or a newer one does not grant the room: connect again with a fresh one."""
    IDLE = 4003
    """The client was in no room and said nothing for long; it may connect again when it wants something."""

    FLOOD = 4500
    """The client sends far more than it may."""
    DISCONNECTED = 4501
    """A moderator has disconnected the user, who may come back when people ask for it."""
    BANNED = 4502
    """The user is banned; until that ends every handshake is refused."""


FAREWELLS = frozenset({CloseCode.NORMAL, CloseCode.DISCONNECTED, CloseCode.BANNED})
"""After these nobody is expected back: the others are told at once, and no place is kept."""


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
    """What a client should do after a close with this code. Total: every integer has an answer."""
    if code in _TERMINAL_STANDARD_CODES or code in _TERMINAL_RANGE:
        return Reconnect.NEVER
    return Reconnect.RESUME


_HINT = re.compile(r"reconnect_after_ms=(\d+)")


def reconnect_hint(after_ms: int) -> str:
    """The close reason that asks a client to wait so many milliseconds before it connects again."""
    return f"reconnect_after_ms={after_ms}"


def parse_reconnect_hint(reason: str) -> int | None:
    """Milliseconds to wait, or None when the reason carries no hint."""
    found = _HINT.search(reason)
    return int(found[1]) if found else None
