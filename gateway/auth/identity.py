"""Authentication: the user that a connection belongs to and what it may do, from an access token or as a guest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from studyroom.gateway.auth.documents import ALL_DOCUMENTS, ALL_ROOMS, DocumentRight, DocumentRights
from studyroom.gateway.auth.events import ALL, ALL_EVENTS, EventRights, is_pattern
from studyroom.gateway.auth.guests import Guests
from studyroom.gateway.auth.key_ring import KeyRing
from studyroom.gateway.auth.names import presentable
from studyroom.gateway.auth.settings import AuthSettings
from studyroom.gateway.auth.tokens import Tokens
from studyroom.gateway.wire.credentials import Unauthorized, access_token, guest_token
from studyroom.shared.contract.ids import RoomId, UserId, canonical_uuid
from studyroom.shared.contract.messages import AVATAR_URL_MAX_CHARS
from studyroom.shared.contract.text import is_blank, is_disruptive

_SUBJECTS = UUID("0d0f4f0e-6a35-5d7e-9a0e-2f6f4e6a7c11")
"""UUIDv5 namespace for token subjects that are not UUIDs. Never change it: user ids derive from it."""

GUEST_NAME = "User"
ROOMS_MAX = 256
"""How many rooms a token may name. The gateway keeps them for as long as the connection lasts."""
EVENTS_MAX = 64
"""How many events a token may name."""
NO_EXPIRY = 253_402_300_800
"""The end of the year 9999 in Unix seconds. A token that expires later counts as expiring then."""


@dataclass(frozen=True, slots=True)
class Identity:
    user: UserId
    username: str
    avatar_url: str | None = None
    guests: Guests | None = field(default=None, repr=False)
    """Signs the guest's token; None for users with an access token."""
    rooms: frozenset[RoomId] | None = None
    """The rooms that the user may enter; None for all."""
    events: EventRights = ALL_EVENTS
    """The broadcast events that the user may send."""
    documents: DocumentRights = ALL_DOCUMENTS
    """The rights of the user to the documents of the rooms that it may enter."""
    role: str | None = None
    expires_at: int = NO_EXPIRY
    """Unix seconds."""
    is_named: bool = True
    """Whether the token has a name. Others are shown as "User"."""

    @property
    def guest_token(self) -> str | None:
        """A new token with which the guest is the same user next time; None for users with an access token."""
        return self.guests.token(self.user) if self.guests is not None else None

    def __str__(self) -> str:
        return f"user {self.user}"

    @property
    def is_guest(self) -> bool:
        return self.guests is not None

    def may_enter(self, room: RoomId) -> bool:
        return self.rooms is None or room in self.rooms


class Authenticator:
    def __init__(self, settings: AuthSettings, keys: KeyRing | None = None) -> None:
        """`keys` verify tokens that are signed with a private key; None to accept no such token."""
        self._tokens = Tokens(settings, keys)
        self._issuer = settings.jwt_issuer
        self._cookie = settings.jwt_cookie
        self._rights = EventRights(settings.broadcast_reserved)
        """The rights of users whose token names no events, and of guests."""
        self._guests = None
        if settings.guests:
            self._guests = Guests(settings.guest_secret.get_secret_value() if settings.guest_secret else None)

    def identify(self, query: Mapping[str, str], headers: Mapping[str, str]) -> Identity:
        """The identity in the request's access token, or a guest's. Raises Unauthorized or KeysUnavailable."""
        token = access_token(query, headers, cookie=self._cookie)
        if token is not None:
            return self._from_token(token)
        if self._guests is None:
            raise Unauthorized("an access token is required")
        user = self._guests.recognise(guest_token(query, headers))
        name = presentable(query.get("username", "")) or GUEST_NAME
        return Identity(user, name, guests=self._guests, events=self._rights)

    def renew(self, user: UserId, token: str) -> Identity:
        """The identity in a newer token of the same user. Raises Unauthorized or KeysUnavailable."""
        identity = self._from_token(token)
        if identity.user != user:
            raise Unauthorized("the access token belongs to another user")
        return identity

    def _from_token(self, token: str) -> Identity:
        claims = self._tokens.claims(token)
        try:
            user = user_id_of(claims["sub"], self._issuer)
        except UnicodeEncodeError as error:
            raise Unauthorized("the subject (sub) of the access token is not valid Unicode") from error
        role = claims.get("role")
        return Identity(
            user,
            _username(claims),
            _avatar_url(claims),
            rooms=_rooms(claims),
            events=self._events(claims),
            documents=_documents(claims),
            role=role if isinstance(role, str) else None,
            expires_at=min(int(claims["exp"]), NO_EXPIRY),
            is_named=bool(claims.get("name")),
        )

    def _events(self, claims: dict[str, Any]) -> EventRights:
        """Raises Unauthorized for anything but a list of patterns or "*", as `_rooms` does."""
        named = claims.get("broadcast", [])
        patterns = (ALL,) if named == ALL else named
        if not isinstance(patterns, list | tuple) or not all(isinstance(one, str) for one in patterns):
            raise Unauthorized('the events (broadcast) in the access token are neither a list of names nor "*"')
        if len(patterns) > EVENTS_MAX:
            raise Unauthorized(f"the access token names more than {EVENTS_MAX} events")
        if not all(is_pattern(one) for one in patterns):
            raise Unauthorized("the access token names an event that no client can send")
        return EventRights(self._rights.reserved, tuple(patterns)) if patterns else self._rights


def user_id_of(subject: str, issuer: str | None = None) -> UserId:
    """The subject itself if it is a UUID, otherwise the UUIDv5 (RFC 9562 section 5.5) of `issuer`, if set, and it.

    Raises UnicodeEncodeError for a subject with lone surrogates.
    """
    try:
        return UserId(canonical_uuid(subject))
    except ValueError:
        namespace = _SUBJECTS if issuer is None else uuid5(_SUBJECTS, issuer)
        return UserId(str(uuid5(namespace, subject)))


def _rooms(claims: dict[str, Any]) -> frozenset[RoomId] | None:
    """None for all rooms. Raises Unauthorized for anything but a list of ids or "*": it may be a misspelled limit."""
    rooms = claims.get("rooms", ALL_ROOMS)
    if rooms == ALL_ROOMS:
        return None
    if not isinstance(rooms, list) or not all(isinstance(room, str) for room in rooms):
        raise Unauthorized('the rooms in the access token are neither a list of room ids nor "*"')
    if len(rooms) > ROOMS_MAX:
        raise Unauthorized(f"the access token names more than {ROOMS_MAX} rooms")
    try:
        return frozenset(RoomId(canonical_uuid(room)) for room in rooms)
    except ValueError as error:
        raise Unauthorized("the access token names a room that is not a UUID") from error


def _documents(claims: dict[str, Any]) -> DocumentRights:
    """Raises Unauthorized for anything but a right, or an object of rights by room: it may be a misspelled limit."""
    named = claims.get("documents", DocumentRight.WRITE)
    by_room = {ALL_ROOMS: named} if isinstance(named, str) else named
    if not isinstance(by_room, dict) or len(by_room) > ROOMS_MAX:
        raise Unauthorized(
            f"the documents in the access token need a right, or an object with up to {ROOMS_MAX} rights"
        )
    try:
        rights = {room: DocumentRight(right) for room, right in by_room.items()}
        others = rights.pop(ALL_ROOMS, DocumentRight.NONE)
        return DocumentRights(others, {RoomId(canonical_uuid(room)): right for room, right in rights.items()})
    except ValueError as error:
        reason = 'the documents in the access token need "read", "write" or "none", for "*" or for ids of rooms'
        raise Unauthorized(reason) from error


def _username(claims: dict[str, Any]) -> str:
    name = claims.get("name")
    return presentable(name if isinstance(name, str) else "") or GUEST_NAME


def _avatar_url(claims: dict[str, Any]) -> str | None:
    avatar = claims.get("avatar_url")
    if not isinstance(avatar, str) or len(avatar) > AVATAR_URL_MAX_CHARS:
        return None
    return None if is_blank(avatar) or is_disruptive(avatar) else avatar
