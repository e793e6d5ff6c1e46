"""Client-ready messages about members, from what the gateway knows of them."""

from gateway.roster import Change, Notice
from shared.ids import UserId
from shared.messages import (
    CursorPosition,
    CursorUpdate,
    CursorUpdatePayload,
    TypingStatus,
    TypingStatusPayload,
    UserJoined,
    UserLeft,
    UserLeftPayload,
    UserPayload,
    UserPresence,
    UserUpdated,
    encode,
)


def encode_notice(notice: Notice) -> bytes:
    if notice.change is Change.LEFT:
        return encode(UserLeft.model_construct(payload=UserLeftPayload.model_construct(user_id=notice.user)))
    profile = notice.profile
    user = UserPresence.model_construct(
        user_id=notice.user, username=profile.username, avatar_url=profile.avatar_url, cursor=None
    )
    kind = UserJoined if notice.change is Change.JOINED else UserUpdated
    return encode(kind.model_construct(payload=UserPayload.model_construct(user=user)))


def encode_cursor(user: UserId, position: CursorPosition) -> bytes:
    """The client-ready `CursorUpdate`."""
    payload = CursorUpdatePayload.model_construct(
        user_id=user, x=position.x, y=position.y, element_id=position.element_id
    )
    return encode(CursorUpdate.model_construct(payload=payload))


def encode_typing(user: UserId, *, is_typing: bool) -> bytes:
    """The client-ready `TypingStatus`."""
    payload = TypingStatusPayload.model_construct(user_id=user, is_typing=is_typing)
    return encode(TypingStatus.model_construct(payload=payload))
