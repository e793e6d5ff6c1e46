"""Who a connection belongs to: a token's user, or a guest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import jwt

from gateway.credentials import Unauthorized, access_token
from gateway.guests import Guests
from gateway.settings import GatewaySettings
from shared.ids import UserId, canonical_uuid
from shared.messages import AVATAR_URL_MAX_CHARS, USERNAME_MAX_CHARS

_SUBJECTS = UUID("0d0f4f0e-6a35-5d7e-9a0e-2f6f4e6a7c11")
"""UUIDv5 namespace of subjects that are no UUIDs; fixed for ever, since user ids derive from it."""

_JOINERS = "\u200c\u200d"
"""Zero-width, and part of names in Persian, Hindi and of emoji."""

GUEST_NAME = "User"
_ALGORITHM = "HS256"


@dataclass(frozen=True, slots=True)
class Identity:
    user: UserId
    username: str
    avatar_url: str | None = None
    guest_token: str | None = None
    """With which a guest is the same user next time; None for the others."""


class Authenticator:
    def __init__(self, settings: GatewaySettings) -> None:
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._cookie = settings.jwt_cookie
        self._guests = None
        if settings.guests:
            self._guests = Guests(settings.guest_secret.get_secret_value() if settings.guest_secret else None)

    def identify(self, query: Mapping[str, str], headers: Mapping[str, str]) -> Identity:
        """By the token that the request carries. Raises Unauthorized."""
        token = access_token(query, headers, cookie=self._cookie)
        if token is not None:
            return self._from_token(token)
        if self._guests is None:
            raise Unauthorized("an access token is needed")
        user = self._guests.recognise(query.get("guest_token"))
        name = _shown(query.get("username", "")) or GUEST_NAME
        return Identity(user, name, guest_token=self._guests.token(user))

    def _from_token(self, token: str) -> Identity:
        if self._secret is None:
            raise Unauthorized("this gateway accepts no tokens")
        try:
            claims = jwt.decode(token, self._secret, algorithms=[_ALGORITHM], options={"require": ["exp", "sub"]})
        except jwt.InvalidTokenError as error:
            raise Unauthorized(f"the access token is not valid: {error}") from error
        if not claims["sub"]:
            raise Unauthorized("the access token names nobody")
        try:
            return Identity(user_id_of(claims["sub"]), _username(claims), _avatar_url(claims))
        except UnicodeEncodeError as error:
            raise Unauthorized("the subject of the access token is not Unicode") from error


def user_id_of(subject: str) -> UserId:
    """A UUID as it is, anything else by UUIDv5 (RFC 9562 section 5.5)."""
    try:
        return UserId(canonical_uuid(subject))
    except ValueError:
        return UserId(str(uuid5(_SUBJECTS, subject)))


def _username(claims: dict[str, Any]) -> str:
    name = claims.get("name")
    return _shown(name if isinstance(name, str) else "") or GUEST_NAME


def _avatar_url(claims: dict[str, Any]) -> str | None:
    avatar = claims.get("avatar_url")
    shown = isinstance(avatar, str) and avatar.isprintable() and 0 < len(avatar) <= AVATAR_URL_MAX_CHARS
    return avatar if shown else None


def _shown(name: str) -> str:
    """A name on one line, of bounded length."""
    line = " ".join("".join(char if char.isprintable() or char in _JOINERS else " " for char in name).split())
    shown = line[:USERNAME_MAX_CHARS].strip()
    return shown if shown.strip(_JOINERS) else ""
