"""Parts of messages, made of the arguments of a program and checked at the call."""

import json
from collections.abc import Mapping
from typing import Any

from studyroom.shared.contract.broadcasts import BroadcastSend, BroadcastSendPayload
from studyroom.shared.contract.custom_presence import UpdatePresencePayload
from studyroom.shared.contract.messages import CursorPosition


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


def _check_json(data: Any) -> None:
    """Raises ValueError for other types, numbers that are not finite, and halves of surrogate pairs."""
    try:
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
