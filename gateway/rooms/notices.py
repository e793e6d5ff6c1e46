"""Encodes client-ready messages about members."""

from collections.abc import Callable, Iterable, Mapping

from pydantic_core import to_json

from studyroom.gateway.rooms.roster import Change, Notice
from studyroom.gateway.wire.framing import text_frame
from studyroom.gateway.wire.items import Item, Kind
from studyroom.shared.contract.custom_presence import Fields, PresenceChanged, PresenceChangedPayload
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

_KINDS = {
    Change.JOINED: Kind.JOINED,
    Change.UPDATED: Kind.UPDATED,
    Change.LEFT: Kind.LEFT,
    Change.FIELDS: Kind.PRESENCE,
}
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
    """The client-ready message about a change of the roster. `member`: the `UserPresence`, if it has one."""
    match notice.change:
        case Change.LEFT:
            return encode(UserLeft.model_construct(payload=UserLeftPayload.model_construct(user_id=notice.user)))
        case Change.JOINED:
            return b'{"type":"UserJoined","payload":{"user":%b}}' % member
        case Change.UPDATED:
            return b'{"type":"UserUpdated","payload":{"user":%b}}' % member
        case Change.FIELDS:
            payload = PresenceChangedPayload.model_construct(user_id=notice.user, fields=dict(notice.changed))
            return encode(PresenceChanged.model_construct(payload=payload))


def encode_joined_room(payload: JoinedRoomPayload, members: bytes) -> bytes:
    """The client-ready `JoinedRoom`. `payload`: without users. `members`: from `encode_members`."""
    before, _, after = encode(JoinedRoom.model_construct(payload=payload)).partition(_NO_USERS)
    return b"".join((before, b'"users":[', members, b"]", after))  # copies the members of a large room only once


_NO_USERS = b'"users":[]'


def encode_members(
    members: Mapping[UserId, bytes], cursors: Iterable[tuple[UserId, bytes]], fields: Mapping[UserId, Fields]
) -> bytes:
    """The elements of `JoinedRoom.users` as JSON.

    `members`: from `encode_member`. `cursors`: users with their `CursorPosition` as JSON. `fields`: users with their
    custom presence. It ignores those of others.

    A room encodes its members again for every join while many join at once, so no Python loops over all of them.
    """
    shown = dict(members)
    for user, cursor in cursors:
        member = shown.get(user)
        if member is not None:
            shown[user] = member[: -len(_NO_CURSOR)] + cursor + b"}"
    for user, own in fields.items():
        member = shown.get(user)
        if member is not None:
            shown[user] = _with_presence(member, own)
    return b",".join(shown.values())


def _with_presence(member: bytes, fields: Fields) -> bytes:
    """`member`: a `UserPresence` without custom presence."""
    return b'%b,"presence":%b}' % (member[:-1], to_json(fields))


class ShownMembers:
    """The members of a room as clients see them. Encodes only those that have changed."""

    def __init__(self) -> None:
        self._members: dict[UserId, bytes] = {}
        """Each as JSON, without cursor and presence."""
        self._fields: dict[UserId, Fields] = {}
        """The custom presence of those who have one, also of users whom presence has lost and who are still here."""
        self._encoded = (-1, b"")

    def fields(self, user: UserId) -> Fields:
        """The custom presence of a user."""
        return self._fields.get(user, {})

    def take(self, notice: Notice, *, is_local: bool) -> Item:
        """Take a change of the roster, and return the frame for the members. `is_local`: the user is connected here."""
        user = notice.user
        self._encoded = (-1, b"")
        member = b""
        if notice.change is Change.LEFT:
            del self._members[user]
        elif notice.change is not Change.FIELDS:
            member = self._members[user] = encode_member(user, notice.profile)
        if notice.fields and (is_local or notice.change is not Change.LEFT):
            self._fields[user] = notice.fields
        else:
            self.forget(user)
        if member and notice.fields:
            member = _with_presence(member, notice.fields)
        return Item(text_frame(encode_notice(notice, member)), _KINDS[notice.change])

    def forget(self, user: UserId) -> None:
        """The user has left."""
        self._fields.pop(user, None)

    def users(self, version: int, cursors: Callable[[], Iterable[tuple[UserId, bytes]]]) -> bytes:
        """The elements of `JoinedRoom.users`. `version`: grows whenever the result of `cursors` changes."""
        if self._encoded[0] != version:
            self._encoded = version, encode_members(self._members, cursors(), self._fields)
        return self._encoded[1]


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
