"""Encodes replies to one client as frames."""

import time

from studyroom.gateway.connections.limits import StatedLimits
from studyroom.gateway.wire.framing import text_frame
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import ConnectionId, MessageId, UserId
from studyroom.shared.contract.messages import (
    Authenticated,
    AuthenticatedPayload,
    Error,
    ErrorPayload,
    Pong,
    encode,
)
from studyroom.shared.contract.versions import PROTOCOL_VERSION

PONG_FRAME = text_frame(encode(Pong()))


def welcome_frame(
    connection: ConnectionId,
    user: UserId,
    *,
    guest_token: str | None,
    chat_retry_seconds: int,
    expires_at: int | None,
    room_hints: bool,
    limits: StatedLimits,
    channels: int | None = None,
) -> bytes:
    """`expires_at`: when the token expires, in Unix seconds; None for never. `channels`: None if it may have none.

    It writes the JSON itself, because all its values are ids, numbers and base64, which JSON does not escape.
    """
    payload = [
        f'"connection_id":"{connection}","user_id":"{user}"',
        f'"server_time":{time.time_ns() // 1_000_000},"chat_retry_seconds":{chat_retry_seconds}',
    ]
    if guest_token is not None:
        payload.append(f'"guest_token":"{guest_token}"')
    if expires_at is not None:
        payload.append(f'"expires_at":{expires_at * 1000}')
    if room_hints:
        payload.append('"room_hints":true')
    payload.append(
        f'"message_max_bytes":{limits.message_max_bytes},"chat_max_chars":{limits.chat_max_chars},'
        f'"history_on_join":{limits.history_on_join}'
    )
    if channels is not None:
        payload.append(f'"channels":{channels}')
    if limits.living_chat:
        payload.append('"living_chat":true')
    payload.append(f'"protocol":{PROTOCOL_VERSION}')
    return text_frame(f'{{"type":"Welcome","payload":{{{",".join(payload)}}}}}'.encode("ascii"))


def authenticated_frame(expires_at: int) -> bytes:
    """`expires_at`: when the token expires, in Unix seconds."""
    payload = AuthenticatedPayload.model_construct(expires_at=expires_at * 1000)
    return text_frame(encode(Authenticated.model_construct(payload=payload)))


def error_frame(code: ErrorCode, message: str, about: MessageId | None) -> bytes:
    """`about`: the id of the refused chat message, if there is one."""
    return text_frame(
        encode(Error.model_construct(payload=ErrorPayload.model_construct(message=message, code=code, id=about)))
    )
