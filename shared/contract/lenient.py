"""What a message that is refused was meant to be: which chat message, and what is wrong with its text.

Read only then, by Python's own reader, which takes more than pydantic's does.
"""

import json
from collections.abc import Collection, Iterator

from studyroom.shared.contract.ids import MessageId, canonical_uuid
from studyroom.shared.contract.text import is_unicode


def read_leniently(text: str) -> object:
    """What Python's reader makes of it, which takes more than pydantic's; None where it does not either."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def chat_id(sent: object) -> MessageId | None:
    match sent:
        case {"type": "Chat", "payload": {"id": str(text)}}:
            try:
                return MessageId(canonical_uuid(text))
            except ValueError:
                return None
        case _:
            return None


def half_a_character(sent: object, types: Collection[str], fields: Collection[str]) -> str | None:
    """Which field holds one, as far as it is one of the protocol; None when none does."""
    match sent:
        case {"type": str(message_type), "payload": dict(payload)} if message_type in types:
            for field, value in payload.items():
                if field in fields and isinstance(value, str) and not is_unicode(value):
                    return f"{message_type}: payload.{field}"
        case _:
            pass
    return None if all(is_unicode(text) for text in _strings(sent)) else "message"


def _strings(sent: object) -> Iterator[str]:
    waiting = [sent]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case dict(pairs):
                waiting += [*pairs, *pairs.values()]
            case list(values):
                waiting += values
            case _:
                pass
