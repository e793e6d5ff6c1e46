"""Places in streams, and times of their messages. Pure."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Position:
    """Everything in a stream up to here is done."""

    created: str = ""
    """When the stream was created, RFC 3339."""
    sequence: int = 0
    time: str = ""
    """When the last message that is done was stored, RFC 3339; empty if it does not matter."""


def is_later(time: str, than: str) -> bool:
    """Compare two times (RFC 3339). Every time is later than none."""
    return not than or datetime.fromisoformat(time) > datetime.fromisoformat(than)


def age_seconds(time: str, now: float) -> float:
    """Return the seconds since a time (RFC 3339). `now`: Unix seconds."""
    return now - datetime.fromisoformat(time).timestamp()
