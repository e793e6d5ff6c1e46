"""Which broadcast events a user may send. Pure.

A pattern is the name of an event, a beginning of names with `*` after it (`lesson.*`), or `*` for all events.
"""

import re
from dataclasses import dataclass

from studyroom.shared.contract.broadcasts import EVENT_MAX_CHARS

ALL = "*"
_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]*\*?|\*")


def is_pattern(text: str) -> bool:
    return len(text) <= EVENT_MAX_CHARS and _PATTERN.fullmatch(text) is not None


def _matches(patterns: tuple[str, ...], event: str) -> bool:
    return any(event.startswith(one[:-1]) if one.endswith(ALL) else event == one for one in patterns)


@dataclass(frozen=True, slots=True)
class EventRights:
    reserved: tuple[str, ...] = ()
    """Patterns of events that users may send only if their token names them."""
    granted: tuple[str, ...] = ()
    """Patterns of events that the token of this user names."""

    def allow(self, event: str) -> bool:
        return not _matches(self.reserved, event) or _matches(self.granted, event)


ALL_EVENTS = EventRights()
