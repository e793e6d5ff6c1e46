"""Guest tokens: a signed user id for people without an account, so that a reloaded page is the same user.

Only gateways can sign one, so nobody can take another guest's id. A guest token grants nothing beyond what every new
guest gets.
"""

import secrets
import time

import jwt

from studyroom.shared.contract.ids import UserId, canonical_uuid, new_user_id

GUEST_AUDIENCE = "studyroom guest"
"""No access token may have this audience, so neither kind passes for the other, even with the same secret."""
_ALGORITHM = "HS256"
_MAX_CHARS = 512
"""The tokens made here have about 230."""
_LIFETIME_SECONDS = 30 * 24 * 3600
"""From the last connection, because each connection gets a new token."""


class Guests:
    def __init__(self, secret: str | None) -> None:
        """Without a `secret` this process makes its own. Then other processes do not recognise its guests, and neither
        does this one after a restart."""
        self._secret = secret if secret is not None else secrets.token_hex(32)

    def recognise(self, token: str | None) -> UserId:
        """The user of a valid guest token, otherwise a new user id. Raises nothing."""
        if token is None or len(token) > _MAX_CHARS:
            return new_user_id()
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=GUEST_AUDIENCE,
                options={"require": ["exp", "sub", "aud"]},
            )
            return UserId(canonical_uuid(claims["sub"]))
        except (jwt.InvalidTokenError, ValueError):
            return new_user_id()

    def token(self, user: UserId) -> str:
        """A token with which `user` can come back."""
        claims = {"sub": user, "aud": GUEST_AUDIENCE, "exp": int(time.time()) + _LIFETIME_SECONDS}
        return jwt.encode(claims, self._secret, _ALGORITHM)
