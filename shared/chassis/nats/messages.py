"""Messages on the bus, the length of their headers, and JetStream's acknowledgements."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from studyroom.shared.chassis.nats.errors import ApiError, BusUnavailable, Conflict, StorageFull

_WRONG_LAST_SEQUENCE = (10071, 10164)
"""JetStream: the expected last sequence (of the subject) is not the last."""
_NO_ROOM = (10002, 10023, 10028, 10047)
"""JetStream: the limit of the account, or of the server's file or memory store, is reached."""
_STORE_FAILED = 10077
"""JetStream: the stream did not store the message, for the reason in the description."""
_HTTP_UNAVAILABLE = 503


class Message(Protocol):
    """A received message."""

    subject: str
    reply: str
    data: bytes
    headers: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The acknowledgement of a stored message."""

    sequence: int
    duplicate: bool = False
    """Whether the stream had the message already. `sequence` is then that of the first copy."""


def headers_bytes(headers: Mapping[str, str]) -> int:
    """Return the number of bytes that the headers add to a message."""
    return len("NATS/1.0\r\n\r\n") + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())


def parse_acknowledgement(reply: Message) -> Acknowledgement:
    """Decode JetStream's answer to a published message. Raises Conflict, StorageFull, ApiError or BusUnavailable."""
    if not reply.data:
        # A status without a body means no responders, so no stream has this subject now.
        raise BusUnavailable("no stream has the subject")
    answer = json.loads(reply.data)
    if error := answer.get("error"):
        code = error.get("err_code", 0)
        if code in _WRONG_LAST_SEQUENCE:
            raise Conflict(error.get("description", ""))
        if _is_full(code, error.get("description", "")):
            raise StorageFull(error.get("description", "no room"))
        if error.get("code") == _HTTP_UNAVAILABLE:
            raise BusUnavailable(error.get("description", "unavailable"))
        raise ApiError(code, error.get("description", "refused"))
    return Acknowledgement(sequence=answer["seq"], duplicate=bool(answer.get("duplicate")))


def _is_full(code: int, description: str) -> bool:
    """Return whether storage is full. A stream at its own limit answers "maximum bytes exceeded" or similar."""
    return code in _NO_ROOM or (code == _STORE_FAILED and description.startswith("maximum "))
