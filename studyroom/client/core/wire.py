"""Messages of the server as the client reads them, also those of newer servers."""

import json
from dataclasses import dataclass
from typing import get_args

from pydantic import ValidationError

from studyroom.client.values import Failure
from studyroom.shared.contract.messages import Error, ServerMessage, decode_server_message

_TYPES = frozenset(message.model_fields["type"].default for message in get_args(ServerMessage))


@dataclass(frozen=True, slots=True)
class Refusal:
    """An `Error`, also with a code that this version does not know. `id`: that of the refused chat message."""

    failure: Failure
    id: str | None = None


class MalformedMessage(ValueError):
    """The peer does not speak the protocol."""


def decode(text: str | bytes) -> ServerMessage | Refusal | None:
    """Return None for a type that this version does not know. Raises MalformedMessage."""
    try:
        message = decode_server_message(text)
    except ValidationError as error:
        return _decode_newer(text, error)
    if isinstance(message, Error):
        return Refusal(Failure(message.payload.code, message.payload.message), message.payload.id)
    return message


def _decode_newer(text: str | bytes, error: ValidationError) -> Refusal | None:
    try:
        sent = json.loads(text)
    except ValueError:
        raise MalformedMessage("the server sent text that is not JSON") from error
    if not isinstance(sent, dict) or not isinstance(sent.get("type"), str):
        raise MalformedMessage("the server sent JSON without a type") from error
    payload = sent.get("payload")
    if sent["type"] == "Error" and isinstance(payload, dict) and isinstance(payload.get("code"), str):
        about = payload.get("id")
        failure = Failure(payload["code"], str(payload.get("message", "")))
        return Refusal(failure, about if isinstance(about, str) else None)
    if sent["type"] in _TYPES:
        raise MalformedMessage(f"the server sent a {sent['type']} that is not valid") from error
    return None
