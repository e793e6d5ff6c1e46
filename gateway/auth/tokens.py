"""Whether an access token is good: its signature, and the claims that say until when and for whom."""

from typing import Any

import jwt

from studyroom.gateway.auth.key_ring import PUBLIC_KEY_ALGORITHMS, KeyRing
from studyroom.gateway.auth.settings import AuthSettings
from studyroom.gateway.wire.credentials import Unauthorized
from studyroom.shared.contract.messages import TOKEN_MAX_CHARS

_SYMMETRIC = "HS256"
_REASON_MAX_CHARS = 200


class Tokens:
    def __init__(self, settings: AuthSettings, keys: KeyRing | None) -> None:
        """`keys`: for tokens that are signed with a private key; None when there are none of those."""
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._keys = keys
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._leeway_seconds = settings.jwt_leeway_seconds
        required = {"exp": True, "sub": True, "iss": self._issuer is not None, "aud": self._audience is not None}
        self._required = [claim for claim, wanted in required.items() if wanted]

    def claims(self, token: str) -> dict[str, Any]:
        """What a good token says. Raises Unauthorized or KeysUnavailable.

        A token for another audience is not for us, and one that has an audience where none is set is neither (RFC 7519
        section 4.1.3).
        """
        if len(token) > TOKEN_MAX_CHARS:
            # Taking it apart costs time before anything of it is checked.
            raise Unauthorized(f"the access token is longer than {TOKEN_MAX_CHARS} characters")
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            key = self._key(algorithm, header.get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[str(algorithm)],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway_seconds,
                options={"require": self._required},
            )
        except (jwt.PyJWTError, UnicodeEncodeError) as error:
            raise Unauthorized(f"the access token is not valid: {_plain(error)}") from error
        if not claims["sub"]:
            raise Unauthorized("the access token names nobody")
        return claims

    def _key(self, algorithm: object, kid: str | None) -> Any:
        """The algorithm decides which kind of key is looked for; a key of one kind never serves for another."""
        if self._secret is None and self._keys is None:
            raise Unauthorized("this gateway accepts no tokens")
        if algorithm == _SYMMETRIC and self._secret is not None:
            return self._secret
        if isinstance(algorithm, str) and algorithm in PUBLIC_KEY_ALGORITHMS and self._keys is not None:
            return self._keys.find(algorithm, kid).material
        raise Unauthorized("the access token is not valid: its algorithm (alg) is not accepted here")


def _plain(error: Exception) -> str:
    """Some name what a token says of itself, which may be long, or no Unicode."""
    return str(error).encode("ascii", "backslashreplace").decode()[:_REASON_MAX_CHARS]
