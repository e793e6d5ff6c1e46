"""Verification of access tokens: the signature, the expiry, the issuer and the audience."""

from typing import Any

import jwt

from studyroom.gateway.auth.key_ring import PUBLIC_KEY_ALGORITHMS, KeyRing
from studyroom.gateway.auth.settings import AuthSettings
from studyroom.gateway.wire.credentials import Unauthorized
from studyroom.shared.contract.identification import TOKEN_MAX_CHARS

_SYMMETRIC = "HS256"
_REASON_MAX_CHARS = 200


class Tokens:
    def __init__(self, settings: AuthSettings, keys: KeyRing | None) -> None:
        """`keys` verify tokens that are signed with a private key; None to accept no such token."""
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._keys = keys
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._leeway_seconds = settings.jwt_leeway_seconds
        required = {"exp": True, "sub": True, "iss": self._issuer is not None, "aud": self._audience is not None}
        self._required = [claim for claim, is_required in required.items() if is_required]

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a valid token. Raises Unauthorized or KeysUnavailable.

        A token with an audience is refused unless that is the audience in the settings (RFC 7519 section 4.1.3).
        """
        if len(token) > TOKEN_MAX_CHARS:
            # Decoding a long token costs time before anything in it is verified.
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
            raise Unauthorized(f"the access token is not valid: {_reason(error)}") from error
        if not claims["sub"]:
            raise Unauthorized("the access token has an empty subject (sub)")
        return claims

    def _key(self, algorithm: object, kid: str | None) -> Any:
        """HS256 takes the secret, all others a public key. A key never serves for an algorithm of another kind."""
        if self._secret is None and self._keys is None:
            raise Unauthorized("this gateway accepts no access tokens")
        if algorithm == _SYMMETRIC and self._secret is not None:
            return self._secret
        if isinstance(algorithm, str) and algorithm in PUBLIC_KEY_ALGORITHMS and self._keys is not None:
            return self._keys.find(algorithm, kid).material
        raise Unauthorized("the access token is not valid: its algorithm (alg) is not accepted here")


def _reason(error: Exception) -> str:
    """In ASCII and shortened: some messages quote the token, which may be long or invalid Unicode."""
    return str(error).encode("ascii", "backslashreplace").decode()[:_REASON_MAX_CHARS]
