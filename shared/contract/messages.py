"""The client protocol: one JSON object per WebSocket text frame, `{"type": …, "payload": …}`.

Unit messages have no payload. Fields that the first protocol did not have are optional for the reader and come
after its own, so that an old client works unchanged.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import ConnectionIdField, MessageId, MessageIdField, RoomIdField, UserIdField
from studyroom.shared.contract.lenient import chat_id, half_a_character, read_leniently
from studyroom.shared.contract.text import NO_CHARACTER

ELEMENT_ID_MAX_CHARS = 256
USERNAME_MAX_CHARS = 100
AVATAR_URL_MAX_CHARS = 2000
TOKEN_MAX_CHARS = 16_384


def _is_none(value: object) -> bool:
    return value is None


class _Part(BaseModel):
    """Unknown fields are ignored: a newer peer may send more than we know. Errors are for logs and repeat no value."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )


# --- what the client says ----------------------------------------------------------------------------------


class JoinRoomPayload(_Part):
    room_id: RoomIdField
    since: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """The last position this client has seen of the room's chat: the `seq` of a message, or `last_seq`."""
    epoch: str | None = Field(default=None, max_length=64)
    """The epoch that the position is of."""


class ChatSendPayload(_Part):
    content: str
    id: MessageIdField | None = None
    """Chosen by the client; sending again with the same id stores nothing twice."""


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
    """A newer access token of the same user, so that the connection may stay when the old one expires."""

    type: Literal["Authenticate"] = "Authenticate"
    payload: AuthenticatePayload


ClientMessage = JoinRoom | LeaveRoom | ChatSend | CursorMove | Typing | Ping | Authenticate

# --- what the server says ----------------------------------------------------------------------------------


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
    """For so long chat that is sent again with its `id` is recognised; later it would be stored twice."""
    guest_token: str | None = Field(default=None, exclude_if=_is_none)
    """A guest that connects again with `?guest_token=` is the same user; nobody else can be."""
    expires_at: int | None = Field(default=None, exclude_if=_is_none)
    """Unix milliseconds until which the access token is good; soon after that the connection is closed (4002)."""
    room_hints: bool | None = Field(default=None, exclude_if=_is_none)
    """The load balancer sends a client to the gateway of the room in its address (`?room=`). So a client that changes
    rooms may connect again."""


class JoinedRoomPayload(_Part):
    room_id: RoomIdField
    users: list[UserPresence]
    epoch: str
    """Changes when the server's history was lost or replaced: then everything known before is void."""
    recovered: bool | None = Field(default=None, exclude_if=_is_none)
    """Whether everything behind `since` follows; only for who asked for it. If not, begin anew: something is gone."""
    history: int = 0
    """How many `Chat` messages of the past follow at once, before anything new: those missed, or the newest."""
    last_seq: int | None = None
    """The position in the room's chat behind those; null when the history cannot be read now and follows later."""


class ChatDeletedPayload(_Part):
    id: MessageIdField
    """The id it had. Another author's message may have the same, since authors choose them: `deleted_seq` is sure."""
    deleted_seq: int
    """The position it had."""
    seq: int
    """The position of this: it has its place among the messages."""


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
    """Position in the room's history; grows within an epoch, not always by one."""


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
    """As in `Welcome`."""


class ErrorPayload(_Part):
    message: str
    code: ErrorCode
    id: MessageIdField | None = Field(default=None, exclude_if=_is_none)
    """The id of the chat message this is about; absent otherwise."""


class Welcome(_Part):
    """The first message of every connection."""

    type: Literal["Welcome"] = "Welcome"
    payload: WelcomePayload


class JoinedRoom(_Part):
    """The answer to `JoinRoom`; every room event after it is newer than its roster."""

    type: Literal["JoinedRoom"] = "JoinedRoom"
    payload: JoinedRoomPayload


class UserJoined(_Part):
    type: Literal["UserJoined"] = "UserJoined"
    payload: UserPayload


class UserUpdated(_Part):
    """A member who is present changed name or avatar (joined again with another token, say)."""

    type: Literal["UserUpdated"] = "UserUpdated"
    payload: UserPayload


class UserLeft(_Part):
    type: Literal["UserLeft"] = "UserLeft"
    payload: UserLeftPayload


class Chat(_Part):
    """A stored chat message. Its author gets it too: that is the acknowledgement."""

    type: Literal["Chat"] = "Chat"
    payload: ChatPayload


class ChatDeleted(_Part):
    """A message was deleted: nobody is to show it any more, and nobody gets it any more."""

    type: Literal["ChatDeleted"] = "ChatDeleted"
    payload: ChatDeletedPayload


class ChatReset(_Part):
    """Chat behind what this client has seen was lost or is too much, or the epoch is another one.

    Positions from before are void; from `last_seq` on nothing is missing. Join again to see what is stored.
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
    """The answer to `Authenticate`: what the newer token allows holds from here on, and for so long."""

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
    """What a client sent is not a message of this protocol.

    `code` is stable; `str()` names what is wrong, in English; of what was sent it repeats a bad id at the most.
    `about` is the id of the chat message that it would have been, where it has one.
    """

    def __init__(self, code: ErrorCode, message: str, about: MessageId | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.about = about


def decode_client_message(text: str) -> ClientMessage:
    """One validated client message. Raises InvalidMessage."""
    try:
        return _client_messages.validate_json(text)
    except ValidationError as error:
        raise _explain(error, text) from None


def decode_server_message(text: str | bytes) -> ServerMessage:
    """One server message, for clients and tests. Raises pydantic's ValidationError."""
    return _server_messages.validate_json(text)


def encode(message: ServerMessage | ClientMessage) -> bytes:
    """Compact UTF-8 JSON, fields in the order of the model."""
    return message.__pydantic_serializer__.to_json(message)


def encode_part(part: UserPresence) -> bytes:
    """The same of what stands inside messages."""
    return part.__pydantic_serializer__.to_json(part)


def _explain(error: ValidationError, text: str) -> InvalidMessage:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    sent = read_leniently(text)
    half = half_a_character(sent, _TYPES, _FIELDS) if first["type"] == "json_invalid" else None
    about = chat_id(sent)
    if half is not None:
        return InvalidMessage(ErrorCode.INVALID_MESSAGE, f"{half}: {NO_CHARACTER}", about)
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
    """The JSON Schema (2020-12) of both directions, each as a discriminated union."""
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
