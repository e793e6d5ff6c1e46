"""The client protocol: one JSON object per WebSocket text frame, `{"type": …, "payload": …}`.

Messages without fields have no payload. Fields that the first version of the protocol did not have are optional and
come last, so old clients work unchanged.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import ConnectionIdField, MessageId, MessageIdField, RoomIdField, UserIdField
from studyroom.shared.contract.lenient import chat_id, lone_surrogate_field, read_leniently
from studyroom.shared.contract.text import LONE_SURROGATE

ELEMENT_ID_MAX_CHARS = 256
USERNAME_MAX_CHARS = 100
AVATAR_URL_MAX_CHARS = 2000
TOKEN_MAX_CHARS = 16_384


def _is_none(value: object) -> bool:
    return value is None


class _Part(BaseModel):
    """A part of a message. Unknown fields are ignored, because a newer peer may send more fields.

    Errors do not repeat the input, because they are for logs.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )


# --- messages of clients -----------------------------------------------------------------------------------


class JoinRoomPayload(_Part):
    room_id: RoomIdField
    since: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """The last position in the room's chat that this client has seen: the `seq` of a message, or `last_seq`."""
    epoch: str | None = Field(default=None, max_length=64)
    """The epoch of that position."""


class ChatSendPayload(_Part):
    content: str
    id: MessageIdField | None = None
    """An id that the client chooses. Retries with the same id are stored once."""


class CursorPosition(_Part):
    x: FiniteFloat
    y: FiniteFloat
    element_id: str | None = Field(default=None, max_length=ELEMENT_ID_MAX_CHARS)


class TypingPayload(_Part):
    is_typing: bool


class AuthenticatePayload(_Part):
    token: str = Field(min_length=1, max_length=TOKEN_MAX_CHARS, repr=False)


class JoinRoom(_Part):
    type: Literal["JoinRoom"] = "JoinRoom"
    payload: JoinRoomPayload


class LeaveRoom(_Part):
    type: Literal["LeaveRoom"] = "LeaveRoom"


class ChatSend(_Part):
    type: Literal["Chat"] = "Chat"
    payload: ChatSendPayload


class CursorMove(_Part):
    type: Literal["CursorMove"] = "CursorMove"
    payload: CursorPosition


class Typing(_Part):
    type: Literal["Typing"] = "Typing"
    payload: TypingPayload


class Ping(_Part):
    type: Literal["Ping"] = "Ping"


class Authenticate(_Part):
    """Replaces the access token with a newer one of the same user, before the old one expires."""

    type: Literal["Authenticate"] = "Authenticate"
    payload: AuthenticatePayload


ClientMessage = JoinRoom | LeaveRoom | ChatSend | CursorMove | Typing | Ping | Authenticate

# --- messages of the server --------------------------------------------------------------------------------


class UserPresence(_Part):
    user_id: UserIdField
    username: str
    avatar_url: str | None = None
    cursor: CursorPosition | None = None


class WelcomePayload(_Part):
    connection_id: ConnectionIdField
    user_id: UserIdField
    server_time: int
    """Unix milliseconds."""
    chat_retry_seconds: int | None = Field(default=None, exclude_if=_is_none)
    """Retries of chat with the same `id` are deduplicated for so many seconds."""
    guest_token: str | None = Field(default=None, exclude_if=_is_none)
    """A guest that connects with `?guest_token=` is the same user again."""
    expires_at: int | None = Field(default=None, exclude_if=_is_none)
    """Unix milliseconds at which the access token expires. The server closes the connection (4002) soon after."""
    room_hints: bool | None = Field(default=None, exclude_if=_is_none)
    """Whether a client that changes rooms may reconnect with `?room=` in its address, because the load balancer then
    chooses a gateway by the room."""


class JoinedRoomPayload(_Part):
    room_id: RoomIdField
    users: list[UserPresence]
    epoch: str
    """Changes when the server has lost its history. Positions from another epoch mean nothing."""
    recovered: bool | None = Field(default=None, exclude_if=_is_none)
    """Whether all messages after `since` follow; present only after a join with `since`. If false, some are gone."""
    history: int = 0
    """The number of earlier `Chat` messages that follow at once: the missed ones, or the newest."""
    last_seq: int | None = None
    """The position after the `history`; null if the gateway cannot read it now, so it follows later."""


class ChatDeletedPayload(_Part):
    id: MessageIdField
    """The id of the deleted message. Other authors may have chosen the same id, but `deleted_seq` is unique."""
    deleted_seq: int
    """The position of the deleted message."""
    seq: int
    """The position of this notice, which is ordered like a message."""


class ChatResetPayload(_Part):
    room_id: RoomIdField
    epoch: str
    last_seq: int


class UserPayload(_Part):
    user: UserPresence


class UserLeftPayload(_Part):
    user_id: UserIdField


class ChatPayload(_Part):
    user_id: UserIdField
    username: str
    content: str
    timestamp: int
    """Unix seconds."""
    id: MessageIdField
    seq: int
    """The position in the room's chat. Positions grow within an epoch, not always by one."""


class CursorUpdatePayload(_Part):
    user_id: UserIdField
    x: FiniteFloat
    y: FiniteFloat
    element_id: str | None


class TypingStatusPayload(_Part):
    user_id: UserIdField
    is_typing: bool


class AuthenticatedPayload(_Part):
    expires_at: int
    """Unix milliseconds at which the newer token expires."""


class ErrorPayload(_Part):
    message: str
    code: ErrorCode
    id: MessageIdField | None = Field(default=None, exclude_if=_is_none)
    """The id of the refused chat message; absent for other errors."""


class Welcome(_Part):
    """The first message of every connection."""

    type: Literal["Welcome"] = "Welcome"
    payload: WelcomePayload


class JoinedRoom(_Part):
    """The answer to `JoinRoom`. Every room event after it is newer than its roster."""

    type: Literal["JoinedRoom"] = "JoinedRoom"
    payload: JoinedRoomPayload


class UserJoined(_Part):
    type: Literal["UserJoined"] = "UserJoined"
    payload: UserPayload


class UserUpdated(_Part):
    """A member has another name or avatar, for example after a join with another token."""

    type: Literal["UserUpdated"] = "UserUpdated"
    payload: UserPayload


class UserLeft(_Part):
    type: Literal["UserLeft"] = "UserLeft"
    payload: UserLeftPayload


class Chat(_Part):
    """A stored chat message. Its author receives it too, as the acknowledgement."""

    type: Literal["Chat"] = "Chat"
    payload: ChatPayload


class ChatDeleted(_Part):
    """A message was deleted: clients stop showing it, and nobody receives it again."""

    type: Literal["ChatDeleted"] = "ChatDeleted"
    payload: ChatDeletedPayload


class ChatReset(_Part):
    """Some chat after the last message that this client has seen is lost or too much, or the epoch has changed.

    Older positions are void. After `last_seq` nothing is missing. Join again to see the stored messages.
    """

    type: Literal["ChatReset"] = "ChatReset"
    payload: ChatResetPayload


class CursorUpdate(_Part):
    type: Literal["CursorUpdate"] = "CursorUpdate"
    payload: CursorUpdatePayload


class TypingStatus(_Part):
    type: Literal["TypingStatus"] = "TypingStatus"
    payload: TypingStatusPayload


class Pong(_Part):
    type: Literal["Pong"] = "Pong"


class Authenticated(_Part):
    """The answer to `Authenticate`: the newer token is valid from now on, until `expires_at`."""

    type: Literal["Authenticated"] = "Authenticated"
    payload: AuthenticatedPayload


class Error(_Part):
    type: Literal["Error"] = "Error"
    payload: ErrorPayload


ServerMessage = (
    Welcome
    | JoinedRoom
    | UserJoined
    | UserUpdated
    | UserLeft
    | Chat
    | ChatDeleted
    | ChatReset
    | CursorUpdate
    | TypingStatus
    | Pong
    | Authenticated
    | Error
)

# --- encoding and decoding ---------------------------------------------------------------------------------

_TYPES = ("JoinRoom", "LeaveRoom", "Chat", "CursorMove", "Typing", "Ping", "Authenticate")
_FIELDS = frozenset(
    field
    for payload in (JoinRoomPayload, ChatSendPayload, CursorPosition, TypingPayload, AuthenticatePayload)
    for field in payload.model_fields
)
_UNION = ConfigDict(hide_input_in_errors=True)
_client_messages: TypeAdapter[ClientMessage] = TypeAdapter(
    Annotated[ClientMessage, Field(discriminator="type")], config=_UNION
)
_server_messages: TypeAdapter[ServerMessage] = TypeAdapter(
    Annotated[ServerMessage, Field(discriminator="type")], config=_UNION
)


class InvalidMessage(ValueError):
    """A client's message is not valid.

    `code` is stable. `str()` explains the problem in English, and repeats nothing of the input but a bad id.
    `about` is the id of the invalid chat message, if it has one.
    """

    def __init__(self, code: ErrorCode, message: str, about: MessageId | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.about = about


def decode_client_message(text: str) -> ClientMessage:
    """Decode and validate a client's message. Raises InvalidMessage."""
    try:
        return _client_messages.validate_json(text)
    except ValidationError as error:
        raise _explain(error, text) from None


def decode_server_message(text: str | bytes) -> ServerMessage:
    """Decode a server's message, for clients and tests. Raises pydantic's ValidationError."""
    return _server_messages.validate_json(text)


def encode(message: ServerMessage | ClientMessage) -> bytes:
    """Encode a message as compact UTF-8 JSON, with its fields in the order of the model."""
    return message.__pydantic_serializer__.to_json(message)


def encode_part(part: UserPresence) -> bytes:
    """Encode a part of a message in the same way as `encode`."""
    return part.__pydantic_serializer__.to_json(part)


def _explain(error: ValidationError, text: str) -> InvalidMessage:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    sent = read_leniently(text)
    field = lone_surrogate_field(sent, _TYPES, _FIELDS) if first["type"] == "json_invalid" else None
    about = chat_id(sent)
    if field is not None:
        return InvalidMessage(ErrorCode.INVALID_MESSAGE, f"{field}: {LONE_SURROGATE}", about)
    match first["type"]:
        case "json_invalid":
            return InvalidMessage(ErrorCode.INVALID_JSON, first["msg"], about)
        case "string_unicode":
            return InvalidMessage(ErrorCode.INVALID_JSON, "not Unicode text", about)
        case "union_tag_invalid" | "union_tag_not_found" | "model_attributes_type" | "dict_type" | "model_type":
            if len(first["loc"]) == 0:
                return InvalidMessage(ErrorCode.UNKNOWN_TYPE, f'"type" must be one of {", ".join(_TYPES)}')
        case _:
            pass
    message_type, *path = (str(part) for part in first["loc"])
    field = ".".join(path) or "message"
    return InvalidMessage(ErrorCode.INVALID_MESSAGE, f"{message_type}: {field}: {first['msg']}", about)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the messages in both directions, each as a discriminated union."""
    _, schema = TypeAdapter.json_schemas(
        [
            ("ClientMessage", "validation", _client_messages),
            ("ServerMessage", "serialization", _server_messages),
        ],
        title="Studyroom client protocol",
        ref_template="#/$defs/{model}",
    )
    unions = {
        "ClientMessage": _client_messages.json_schema(mode="validation", ref_template="#/$defs/{model}"),
        "ServerMessage": _server_messages.json_schema(mode="serialization", ref_template="#/$defs/{model}"),
    }
    definitions = dict(schema["$defs"])
    for name, union in unions.items():
        union.pop("$defs", None)
        definitions[name] = union
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Studyroom client protocol",
        "oneOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
        "$defs": dict(sorted(definitions.items())),
    }
