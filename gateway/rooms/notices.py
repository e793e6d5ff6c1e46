"""Encodes client-ready messages about members."""

from collections.abc import Callable, Mapping

from studyroom.gateway.rooms.roster import Change, Notice
from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.messages import (
    CursorPosition,
    CursorUpdate,
    CursorUpdatePayload,
    JoinedRoom,
    JoinedRoomPayload,
    TypingStatus,
    TypingStatusPayload,
    UserLeft,
    UserLeftPayload,
    UserPresence,
    encode,
    encode_part,
)
from studyroom.shared.contract.presence import Profile

_NO_CURSOR = b"null}"
"""How the JSON of a member without a cursor ends."""


def encode_member(user: UserId, profile: Profile) -> bytes:
    """The member as JSON, a `UserPresence` without a cursor."""
    return encode_part(
        UserPresence.model_construct(
            user_id=user, username=profile.username, avatar_url=profile.avatar_url, cursor=None
        )
    )


def encode_notice(notice: Notice, member: bytes) -> bytes:
    """The client-ready `UserJoined`, `UserUpdated` or `UserLeft`. `member`: from `encode_member`."""
    match notice.change:
        case Change.LEFT:
            return encode(UserLeft.model_construct(payload=UserLeftPayload.model_construct(user_id=notice.user)))
        case Change.JOINED:
            return b'{"type":"UserJoined","payload":{"user":%b}}' % member
        case Change.UPDATED:
            return b'{"type":"UserUpdated","payload":{"user":%b}}' % member


def encode_joined_room(payload: JoinedRoomPayload, members: bytes) -> bytes:
    """The client-ready `JoinedRoom`. `payload`: without users. `members`: from `encode_members`."""
    empty = encode(JoinedRoom.model_construct(payload=payload))
    return empty.replace(_NO_USERS, b'"users":[%b]' % members, 1)


_NO_USERS = b'"users":[]'


def encode_members(members: Mapping[UserId, bytes], cursor_of: Callable[[UserId], bytes | None]) -> bytes:
    """The elements of `JoinedRoom.users` as JSON.

    `members`: from `encode_member`. `cursor_of` returns a member's `CursorPosition` as JSON, or None.
    """
    return b",".join(
        [
            member if (cursor := cursor_of(user)) is None else member[: -len(_NO_CURSOR)] + cursor + b"}"
            for user, member in members.items()
        ]
    )


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
