"""Guests that come back: a signed name for people without an account, so that a reload is the same person.

Nobody else can take it, since only gateways can sign; and it opens nothing that is closed to a new guest.
"""

import secrets
import time

import jwt

from studyroom.shared.contract.ids import UserId, canonical_uuid, new_user_id

GUEST_AUDIENCE = "studyroom guest"
"""Access tokens have no such audience, so neither passes for the other, even under one secret."""
_ALGORITHM = "HS256"
_MAX_CHARS = 512
"""Ours have some 230."""
_LIFE_SECONDS = 30 * 24 * 3600
"""Counted from the last connection: each gives a new token."""


class Guests:
    def __init__(self, secret: str | None) -> None:
        """Without a secret, one of this process's own: its guests are unknown to others, and after a restart."""
        self._secret = secret if secret is not None else secrets.token_hex(32)

    def recognise(self, token: str | None) -> UserId:
        """Whose the token is; somebody new when it is none of ours, or too old."""
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
        """What `user` shows the next time."""
        claims = {"sub": user, "aud": GUEST_AUDIENCE, "exp": int(time.time()) + _LIFE_SECONDS}
        return jwt.encode(claims, self._secret, _ALGORITHM)
