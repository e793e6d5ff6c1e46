"""Encodes replies to one client as frames."""

import time

from studyroom.gateway.wire.framing import text_frame
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import ConnectionId, MessageId, UserId
from studyroom.shared.contract.messages import (
    Authenticated,
    AuthenticatedPayload,
    Error,
    ErrorPayload,
    Pong,
    Welcome,
    WelcomePayload,
    encode,
)

PONG_FRAME = text_frame(encode(Pong()))


def welcome_frame(
    connection: ConnectionId,
    user: UserId,
    *,
    guest_token: str | None,
    chat_retry_seconds: int,
    expires_at: int | None,
    room_hints: bool,
) -> bytes:
    """`expires_at`: when the token expires, in Unix seconds; None for never."""
    payload = WelcomePayload.model_construct(
        connection_id=connection,
        user_id=user,
        server_time=time.time_ns() // 1_000_000,
        chat_retry_seconds=chat_retry_seconds,
        guest_token=guest_token,
        expires_at=expires_at * 1000 if expires_at is not None else None,
        room_hints=room_hints or None,
    )
    return text_frame(encode(Welcome.model_construct(payload=payload)))


def authenticated_frame(expires_at: int) -> bytes:
    """`expires_at`: when the token expires, in Unix seconds."""
    payload = AuthenticatedPayload.model_construct(expires_at=expires_at * 1000)
    return text_frame(encode(Authenticated.model_construct(payload=payload)))


def error_frame(code: ErrorCode, message: str, about: MessageId | None) -> bytes:
    """`about`: the id of the refused chat message, if there is one."""
    return text_frame(
        encode(Error.model_construct(payload=ErrorPayload.model_construct(message=message, code=code, id=about)))
    )
