"""The client protocol: one JSON object per WebSocket text frame, `{"type": …, "payload": …}`.

Messages without fields have no payload. Fields that the first version of the protocol did not have are optional and
come last, so old clients work unchanged.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from studyroom.shared.contract.broadcasts import Broadcast, BroadcastSend, BroadcastSendPayload
from studyroom.shared.contract.channels import Channel, ChannelClosed, ChannelMessage
from studyroom.shared.contract.chat_messages import (
    Chat,
    ChatDeleted,
    ChatEdited,
    ChatReaction,
    ChatSend,
    ChatSendPayload,
    DeleteChat,
    DeleteChatPayload,
    EditChat,
    EditChatPayload,
    ReactToChat,
    ReactToChatPayload,
)
from studyroom.shared.contract.custom_presence import PresenceChanged, UpdatePresence, UpdatePresencePayload
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.identification import Authenticate, AuthenticatePayload, Rename, RenamePayload
from studyroom.shared.contract.ids import ConnectionIdField, MessageId, MessageIdField, RoomIdField, UserIdField
from studyroom.shared.contract.lenient import chat_id, lone_surrogate_field, read_leniently
from studyroom.shared.contract.moving import Moving
from studyroom.shared.contract.parts import Part, is_none
from studyroom.shared.contract.text import LONE_SURROGATE

ELEMENT_ID_MAX_CHARS = 256
USERNAME_MAX_CHARS = 100
AVATAR_URL_MAX_CHARS = 2000


# --- messages of clients -----------------------------------------------------------------------------------


class JoinRoomPayload(Part):
    room_id: RoomIdField
    since: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """The last position in the room's chat that this client has seen: the `seq` of a message, or `last_seq`."""
    epoch: str | None = Field(default=None, max_length=64)
    """The epoch of that position."""


class CursorPosition(Part):
    x: FiniteFloat
    y: FiniteFloat
    element_id: str | None = Field(default=None, max_length=ELEMENT_ID_MAX_CHARS)


class TypingPayload(Part):
    is_typing: bool


class JoinRoom(Part):
    type: Literal["JoinRoom"] = "JoinRoom"
    payload: JoinRoomPayload


class LeaveRoom(Part):
    type: Literal["LeaveRoom"] = "LeaveRoom"


class CursorMove(Part):
    type: Literal["CursorMove"] = "CursorMove"
    payload: CursorPosition


class Typing(Part):
    type: Literal["Typing"] = "Typing"
    payload: TypingPayload


class Ping(Part):
    type: Literal["Ping"] = "Ping"


ClientMessage = (
    JoinRoom
    | LeaveRoom
    | ChatSend
    | EditChat
    | DeleteChat
    | ReactToChat
    | CursorMove
    | Typing
    | BroadcastSend
    | UpdatePresence
    | Ping
    | Authenticate
    | Rename
)

AnyClientMessage = ClientMessage | ChannelMessage
"""Also the messages that only clients with channels send."""

# --- messages of the server --------------------------------------------------------------------------------


class UserPresence(Part):
    user_id: UserIdField
    username: str
    avatar_url: str | None = None
    cursor: CursorPosition | None = None
    presence: dict[str, Any] | None = Field(default=None, exclude_if=is_none)
    """The fields of the member's custom presence; absent if there are none."""


class WelcomePayload(Part):
    connection_id: ConnectionIdField
    user_id: UserIdField
    server_time: int
    """Unix milliseconds."""
    chat_retry_seconds: int | None = Field(default=None, exclude_if=is_none)
    """Retries of chat with the same `id` are deduplicated for so many seconds."""
    guest_token: str | None = Field(default=None, exclude_if=is_none)
    """A guest that connects with `?guest_token=` is the same user again."""
    expires_at: int | None = Field(default=None, exclude_if=is_none)
    """Unix milliseconds at which the access token expires. The server closes the connection (4002) soon after."""
    room_hints: bool | None = Field(default=None, exclude_if=is_none)
    """Whether a client that changes rooms may reconnect with `?room=` in its address, because the load balancer then
    chooses a gateway by the room."""
    message_max_bytes: int | None = Field(default=None, exclude_if=is_none)
    """The largest message that the gateway reads. It closes the connection (1009) after a larger one."""
    chat_max_chars: int | None = Field(default=None, exclude_if=is_none)
    """The longest `content` of a chat message, in Unicode code points."""
    history_on_join: int | None = Field(default=None, exclude_if=is_none)
    """How many of the newest chat messages a newcomer gets at most."""
    channels: int | None = Field(default=None, exclude_if=is_none)
    """How many channels the connection may have at a time; absent if it has none."""
    living_chat: bool | None = Field(default=None, exclude_if=is_none)
    """Whether members may edit and delete their chat messages, react, reply and mention."""
    protocol: int | None = Field(default=None, exclude_if=is_none)
    """The version of this protocol. A server that names none has version 1."""


class JoinedRoomPayload(Part):
    room_id: RoomIdField
    users: list[UserPresence]
    epoch: str
    """Changes when the server has lost its history. Positions from another epoch mean nothing."""
    recovered: bool | None = Field(default=None, exclude_if=is_none)
    """Whether all messages after `since` follow; present only after a join with `since`. If false, some are gone."""
    history: int = 0
    """The number of earlier `Chat` messages that follow at once: the missed ones, or the newest."""
    last_seq: int | None = None
    """The position after the `history`; null if the gateway cannot read it now, so it follows later."""
    room_hint: RoomIdField | None = Field(default=None, exclude_if=is_none)
    """The value of `?room=` for the next connection, in place of the id of a large room."""


class ChatResetPayload(Part):
    room_id: RoomIdField
    epoch: str
    last_seq: int


class UserPayload(Part):
    user: UserPresence


class UserLeftPayload(Part):
    user_id: UserIdField


class CursorUpdatePayload(Part):
    user_id: UserIdField
    x: FiniteFloat
    y: FiniteFloat
    element_id: str | None


class TypingStatusPayload(Part):
    user_id: UserIdField
    is_typing: bool


class AuthenticatedPayload(Part):
    expires_at: int
    """Unix milliseconds at which the newer token expires."""


class ErrorPayload(Part):
    message: str
    code: ErrorCode
    id: MessageIdField | None = Field(default=None, exclude_if=is_none)
    """The id of the refused chat message, edit or reaction; absent for other errors."""


class Welcome(Part):
    """The first message of every connection."""

    type: Literal["Welcome"] = "Welcome"
    payload: WelcomePayload


class JoinedRoom(Part):
    """The answer to `JoinRoom`. Every room event after it is newer than its roster."""

    type: Literal["JoinedRoom"] = "JoinedRoom"
    payload: JoinedRoomPayload


class UserJoined(Part):
    type: Literal["UserJoined"] = "UserJoined"
    payload: UserPayload


class UserUpdated(Part):
    """A member has another name or avatar, for example after a join with another token."""

    type: Literal["UserUpdated"] = "UserUpdated"
    payload: UserPayload


class UserLeft(Part):
    type: Literal["UserLeft"] = "UserLeft"
    payload: UserLeftPayload


class ChatReset(Part):
    """Some chat after the last message that this client has seen is lost or too much, or the epoch has changed.

    Older positions are void. After `last_seq` nothing is missing. Join again to see the stored messages.
    """

    type: Literal["ChatReset"] = "ChatReset"
    payload: ChatResetPayload


class CursorUpdate(Part):
    type: Literal["CursorUpdate"] = "CursorUpdate"
    payload: CursorUpdatePayload


class TypingStatus(Part):
    type: Literal["TypingStatus"] = "TypingStatus"
    payload: TypingStatusPayload


class Pong(Part):
    type: Literal["Pong"] = "Pong"


class Authenticated(Part):
    """The answer to `Authenticate`: the newer token is valid from now on, until `expires_at`."""

    type: Literal["Authenticated"] = "Authenticated"
    payload: AuthenticatedPayload


class Error(Part):
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
    | ChatEdited
    | ChatReaction
    | ChatReset
    | CursorUpdate
    | TypingStatus
    | Broadcast
    | PresenceChanged
    | Moving
    | Channel
    | ChannelClosed
    | Pong
    | Authenticated
    | Error
)

# --- encoding and decoding ---------------------------------------------------------------------------------

_TYPES = (
    "JoinRoom",
    "LeaveRoom",
    "Chat",
    "CursorMove",
    "Typing",
    "Ping",
    "Authenticate",
    "Broadcast",
    "UpdatePresence",
    "EditChat",
    "DeleteChat",
    "ReactToChat",
    "Rename",
)
_FIELDS = frozenset(
    field
    for payload in (
        JoinRoomPayload,
        ChatSendPayload,
        EditChatPayload,
        DeleteChatPayload,
        ReactToChatPayload,
        CursorPosition,
        TypingPayload,
        BroadcastSendPayload,
        UpdatePresencePayload,
        AuthenticatePayload,
        RenamePayload,
    )
    for field in payload.model_fields
)
_UNION = ConfigDict(hide_input_in_errors=True)
CLIENT_MESSAGES: TypeAdapter[ClientMessage] = TypeAdapter(
    Annotated[ClientMessage, Field(discriminator="type")], config=_UNION
)
ANY_CLIENT_MESSAGES: TypeAdapter[AnyClientMessage] = TypeAdapter(
    Annotated[AnyClientMessage, Field(discriminator="type")], config=_UNION
)
SERVER_MESSAGES: TypeAdapter[ServerMessage] = TypeAdapter(
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
        return CLIENT_MESSAGES.validate_json(text)
    except ValidationError as error:
        raise _explain(error, text) from None


def decode_server_message(text: str | bytes) -> ServerMessage:
    """Decode a server's message, for clients and tests. Raises pydantic's ValidationError."""
    return SERVER_MESSAGES.validate_json(text)


def encode(message: ServerMessage | AnyClientMessage) -> bytes:
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
