"""Parts of messages, made of the arguments of a program and checked at the call."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from studyroom.client.values import ChatMessage
from studyroom.shared.contract import chat_messages as wire
from studyroom.shared.contract.broadcasts import BroadcastSend, BroadcastSendPayload
from studyroom.shared.contract.custom_presence import UpdatePresencePayload
from studyroom.shared.contract.ids import UserId, canonical_uuid, new_message_id
from studyroom.shared.contract.messages import CursorPosition
from studyroom.shared.contract.text import is_blank, is_unicode


def event_of(event: str, data: Any, key: str | None) -> BroadcastSend:
    """Raises ValueError for a name, a key or data that the protocol does not allow."""
    try:
        _check_json([event, data, key])
        return BroadcastSend(payload=BroadcastSendPayload(event=event, data=data, key=key))
    except ValueError as error:
        raise ValueError(f"not an event: {error}") from error


def fields_of(change: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ValueError for a name or a value that the protocol does not allow."""
    try:
        _check_json(dict(change))
        return UpdatePresencePayload(fields=dict(change)).fields
    except ValueError as error:
        raise ValueError(f"not fields of presence: {error}") from error


def position_of(x: float, y: float, element_id: str | None) -> CursorPosition:
    """Raises ValueError for numbers that are not finite, and for an element that the protocol does not allow."""
    try:
        _check_json(element_id)
        return CursorPosition(x=float(x), y=float(y), element_id=element_id)
    except ValueError as error:
        raise ValueError(f"not a position: {error}") from error


def checked_text(content: str) -> str:
    """Raises ValueError for text without anything that people can see, or that is not Unicode."""
    if is_blank(content) or not is_unicode(content):
        raise ValueError("a chat message needs text that people can see, and that is Unicode")
    return content


def user_ids_of(mentions: Iterable[str | UUID]) -> tuple[str, ...]:
    """Raises ValueError for more users than the protocol allows, and for ids that are not UUIDs."""
    users = tuple(dict.fromkeys(canonical_uuid(str(user_id)) for user_id in mentions))
    if len(users) > wire.MENTIONS_MAX:
        raise ValueError(f"a message mentions {wire.MENTIONS_MAX} users at most, and not {len(users)}")
    return users


def edit_of(message: ChatMessage, content: str, mentions: Iterable[str | UUID]) -> wire.EditChat:
    """Raises ValueError for a text or mentions that the protocol does not allow, and for a message without position."""
    payload = {**_target(message), "content": checked_text(content), "id": new_message_id()}
    users = [UserId(user_id) for user_id in user_ids_of(mentions)]
    return wire.EditChat(payload=wire.EditChatPayload(**payload, mentions=users or None))


def deletion_of(message: ChatMessage) -> wire.DeleteChat:
    """Raises ValueError for a message without position."""
    return wire.DeleteChat(payload=wire.DeleteChatPayload(**_target(message)))


def reaction_of(message: ChatMessage, reaction: str, *, is_on: bool) -> wire.ReactToChat:
    """Raises ValueError for a reaction that the protocol does not allow, and for a message without position."""
    payload = {**_target(message), "reaction": reaction, "is_on": is_on, "id": new_message_id()}
    try:
        _check_json(reaction)
        return wire.ReactToChat(payload=wire.ReactToChatPayload(**payload))
    except ValueError as error:
        raise ValueError(f"not a reaction: {error}") from error


def _target(message: ChatMessage) -> dict[str, Any]:
    if message.seq is None:
        raise ValueError("the message is not stored yet")
    return {"target_id": message.id, "target_seq": message.seq}


def _check_json(data: Any) -> None:
    """Raises ValueError for other types, numbers that are not finite, and halves of surrogate pairs."""
    try:
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
