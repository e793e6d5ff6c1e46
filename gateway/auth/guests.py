"""Guest tokens: a signed user id for people without an account, so that a reloaded page is the same user.

Only gateways can sign one, so nobody can take another guest's id. A guest token grants nothing beyond what every new
guest gets.

A token is a JWT (RFC 7519) of this form, signed with HS256 (RFC 7515 section 3.1). `exp` is in Unix seconds.

    {"alg":"HS256","typ":"JWT"} . {"sub":"<user id>","aud":"studyroom guest","exp":<30 days from now>} . <signature>

A gateway makes a token for every guest that connects, and checks one for every guest that comes back. So both have code
of their own for this form. PyJWT checks all other forms, and refuses the tokens that are not valid.
"""

import hmac
import json
import re
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode

import jwt

from studyroom.shared.contract.ids import UserId, canonical_uuid, new_user_id

GUEST_AUDIENCE = "studyroom guest"
"""No access token may have this audience, so neither kind passes for the other, even with the same secret."""
_ALGORITHM = "HS256"
_HASH = "sha256"
"""The hash of `_ALGORITHM`."""
_MAX_CHARS = 512
"""The tokens made here have about 230."""
_LIFETIME_SECONDS = 30 * 24 * 3600
"""From the last connection, because each connection gets a new token."""
_CLAIMS = '{"sub":"%s","aud":' + json.dumps(GUEST_AUDIENCE) + ',"exp":%d}'
_own_claims = re.compile(re.escape(_CLAIMS).replace("%s", "([0-9a-f-]{36})").replace("%d", "([0-9]{1,12})")).fullmatch


def _encoded(part: bytes) -> str:
    """A part of a JWT (RFC 7515 section 2)."""
    return urlsafe_b64encode(part).rstrip(b"=").decode("ascii")


_HEADER = _encoded(b'{"alg":"HS256","typ":"JWT"}') + "."


class Guests:
    def __init__(self, secret: str | None) -> None:
        """Without a `secret` this process makes its own. Then other processes do not recognise its guests, and neither
        does this one after a restart."""
        self._secret = secret if secret is not None else secrets.token_hex(32)
        self._keyed = hmac.new(self._secret.encode(), digestmod=_HASH)
        """The state of the hash after the key. Signatures use copies."""

    def recognise(self, token: str | None) -> UserId:
        """The user of a valid guest token, otherwise a new user id. Raises nothing."""
        if token is None or len(token) > _MAX_CHARS:
            return new_user_id()
        try:
            return UserId(canonical_uuid(self._own_subject(token) or self._subject(token)))
        except (jwt.InvalidTokenError, ValueError):
            return new_user_id()

    def _own_subject(self, token: str) -> str | None:
        """The subject of a valid token that was made here or in the same form; None for all others.

        Raises ValueError.
        """
        signed, _, signature = token.rpartition(".")
        if not token.isascii() or not signed.startswith(_HEADER):
            return None
        if not hmac.compare_digest(self._signature(signed), signature):
            return None
        claims = urlsafe_b64decode(signed[len(_HEADER) :] + "==").decode("latin-1")
        found = _own_claims(claims)
        return found[1] if found is not None and int(found[2]) > time.time() else None

    def _subject(self, token: str) -> str:
        """The subject of a token. Raises jwt.InvalidTokenError or ValueError."""
        claims = jwt.decode(
            token,
            self._secret,
            algorithms=[_ALGORITHM],
            audience=GUEST_AUDIENCE,
            options={"require": ["exp", "sub", "aud"]},
        )
        return str(claims["sub"])

    def token(self, user: UserId) -> str:
        """A token with which `user` can come back."""
        signed = _HEADER + _encoded((_CLAIMS % (user, int(time.time()) + _LIFETIME_SECONDS)).encode("ascii"))
        return f"{signed}.{self._signature(signed)}"

    def _signature(self, signed: str) -> str:
        keyed = self._keyed.copy()
        keyed.update(signed.encode("ascii"))
        return _encoded(keyed.digest())
