"""Broadcast events: their messages, and the batches in which they travel between gateways.

Events travel as the JSON that clients receive, and nobody parses that again: the sender, and the part that names an
event with a key (its slot), are at the beginning of the bytes.

A batch consists of lines of ASCII and JSON, in which JSON never contains a raw newline:

    <ingress> <number> <revision> <gateway id>\\n
    <JSON for clients>\\n …

The ingress is the time at which the gateway received the oldest event, in Unix microseconds. The numbers of the batches
of one gateway grow. The revision is that of the room's roster at the gateway, which has all senders.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from studyroom.shared.contract.ephemeral import MalformedBatch
from studyroom.shared.contract.ids import ID_LENGTH, GatewayId, UserId, UserIdField
from studyroom.shared.contract.parts import Part, is_none

EVENT_MAX_CHARS = 64
KEY_MAX_CHARS = 128
BROADCAST_OVERHEAD_BYTES = 1500
"""The most that a batch of one event has besides the event's data."""
_INFINITE = frozenset((float("inf"), float("-inf")))


def _are_finite(data: Any) -> Any:
    """JSON has no other numbers (RFC 8259 section 6). Raises PydanticCustomError, which becomes a ValidationError."""
    waiting = [data]
    while waiting:
        match waiting.pop():
            case float(number):
                if number != number or number in _INFINITE:  # noqa: PLR0124 - only NaN differs from itself
                    raise PydanticCustomError("finite_number", "numbers must be finite")
            case dict(pairs):
                waiting += pairs.values()
            case list(values):
                waiting += values
            case _:
                pass
    return data


Json = Annotated[Any, AfterValidator(_are_finite)]
"""Any JSON value."""


class BroadcastSendPayload(Part):
    event: str = Field(max_length=EVENT_MAX_CHARS, pattern=r"^[A-Za-z][A-Za-z0-9_.:-]*$")
    """The name of the event: ASCII letters, digits and `_.:-`, with a letter first."""
    data: Json
    key: str | None = Field(default=None, min_length=1, max_length=KEY_MAX_CHARS)
    """A newer event of the same sender with the same name and key replaces one that still waits."""


class BroadcastPayload(Part):
    user_id: UserIdField
    event: str
    key: str | None = Field(default=None, exclude_if=is_none)
    data: Json


class BroadcastSend(Part):
    """Sends an event to the other members of the room. Nothing stores it."""

    type: Literal["Broadcast"] = "Broadcast"
    payload: BroadcastSendPayload


class Broadcast(Part):
    """An event that another member has sent. Nothing stores it, so newcomers never get it."""

    type: Literal["Broadcast"] = "Broadcast"
    payload: BroadcastPayload


# --- client-ready events -----------------------------------------------------------------------------------

_BEFORE_SENDER = b'{"type":"Broadcast","payload":{"user_id":"'
_SENDER_AT = len(_BEFORE_SENDER)
_BEFORE_DATA = b',"data":'
"""JSON strings cannot contain these bytes, because a quotation mark in them has a backslash before it."""
_BEFORE_KEY = b',"key":'
_AFTER_DATA = b"}}"


def encode_broadcast(sender: UserId, event: BroadcastSendPayload) -> bytes:
    """Return the client-ready `Broadcast`."""
    payload = BroadcastPayload.model_construct(user_id=sender, event=event.event, key=event.key, data=event.data)
    message = Broadcast.model_construct(payload=payload)
    return message.__pydantic_serializer__.to_json(message)


def sender_of(message: bytes) -> UserId:
    """Return the sender of a client-ready `Broadcast`."""
    return UserId(str(message[_SENDER_AT : _SENDER_AT + ID_LENGTH], "ascii"))


def slot_of(message: bytes) -> bytes | None:
    """Return bytes that are the same for all events with the same sender, name and key; None for one without a key."""
    before = message.partition(_BEFORE_DATA)[0]
    return before if _BEFORE_KEY in before else None


def data_bytes(message: bytes) -> int:
    """Return the length of an event's data as compact JSON."""
    return len(message.partition(_BEFORE_DATA)[2]) - len(_AFTER_DATA)


# --- batches between gateways ------------------------------------------------------------------------------


class BroadcastBatch(NamedTuple):
    ingress_us: int
    number: int
    revision: int
    gateway: GatewayId
    messages: Sequence[bytes]
    """Client-ready events in their order."""

    def encode(self) -> bytes:
        head = f"{self.ingress_us} {self.number} {self.revision} {self.gateway}".encode("ascii")
        return b"\n".join((head, *self.messages))


def decode_broadcasts(data: bytes) -> BroadcastBatch:
    """Raises MalformedBatch."""
    head, *messages = data.split(b"\n")
    try:
        ingress_us, number, revision, gateway = _head(str(head, "ascii"))
    except ValueError as error:  # also for bytes beyond ASCII
        raise MalformedBatch("no head") from error
    if not all(_is_broadcast(message) for message in messages):
        raise MalformedBatch("not an event")
    return BroadcastBatch(ingress_us, number, revision, GatewayId(gateway), messages)


def _head(text: str) -> tuple[int, int, int, str]:
    ingress_us, number, revision, gateway = text.split(" ")
    return int(ingress_us), int(number), int(revision), gateway


def _is_broadcast(message: bytes) -> bool:
    sender = message[_SENDER_AT : _SENDER_AT + ID_LENGTH]
    return message.startswith(_BEFORE_SENDER) and len(sender) == ID_LENGTH and sender.isascii()
