"""Reads invalid messages of clients with Python's JSON parser, which accepts more than pydantic's.

The refusal of a message then names the chat message, and the field whose text is not Unicode.
"""

import json
from collections.abc import Collection, Iterator

from studyroom.shared.contract.ids import MessageId, canonical_uuid
from studyroom.shared.contract.text import is_unicode


def read_leniently(text: str) -> object:
    """Parse JSON that pydantic has refused. Return None if Python's parser refuses it too."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def chat_id(sent: object) -> MessageId | None:
    """Return the id by which errors name the message; None if `sent` is not about chat, or has no valid id."""
    match sent:
        case {"type": "Chat" | "EditChat" | "ReactToChat", "payload": {"id": str(text)}} | {
            "type": "DeleteChat",
            "payload": {"target_id": str(text)},
        }:
            try:
                return MessageId(canonical_uuid(text))
            except ValueError:
                return None
        case _:
            return None


def lone_surrogate_field(sent: object, types: Collection[str], fields: Collection[str]) -> str | None:
    """Return the field that has half of a surrogate pair, "message" if it is not one of `fields`, or None."""
    match sent:
        case {"type": str(message_type), "payload": dict(payload)} if message_type in types:
            for field, value in payload.items():
                if field in fields and not all(is_unicode(text) for text in _strings(value)):
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
