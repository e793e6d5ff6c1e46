"""The issuer's public keys, and which of them verifies a given token. Pure.

The key decides which algorithms it may be used with, never the token: a token's algorithm must belong to the family of
its key. So a public key cannot pass for a shared secret, nor an RSA key for a key of another algorithm (RFC 8725
sections 2.1 and 3.1).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jwt

from studyroom.gateway.wire.credentials import Unauthorized

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
PUBLIC_KEY_ALGORITHMS = frozenset(_RSA).union(*_CURVES.values())
_RSA_MIN_BITS = 2048
"""RFC 7518 section 3.3."""


class KeysUnavailable(Exception):
    """The keys have not been read yet, so no token can be verified."""


class BadKeys(ValueError):
    """The document is not a key set (RFC 7517), or has no key that can verify access tokens."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    kid: str | None
    algorithms: frozenset[str]
    """The JWS algorithms that the key may be used with."""
    material: Any
    """The key in the form that PyJWT takes."""


def read_keys(document: object) -> tuple[PublicKey, ...]:
    """The keys of a JWK Set (RFC 7517 section 5) that can verify signatures. Skips all others. Raises BadKeys."""
    jwks = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(jwks, list):
        raise BadKeys("not a JWK Set")
    keys = tuple(_usable(jwks))
    if not keys:
        raise BadKeys("no key that verifies RS, PS, ES or EdDSA signatures")
    return keys


class KeyRing:
    """The known keys. A `KeyReader` fills it."""

    def __init__(self, keys: tuple[PublicKey, ...] = (), *, on_missing: Callable[[], None] | None = None) -> None:
        """`on_missing` is called for every token that names an unknown key."""
        self.keys = keys
        self._on_missing = on_missing

    def find(self, algorithm: str, kid: str | None) -> PublicKey:
        """The key for a token with this `alg` and `kid`. `kid` may be None if only one key fits the algorithm.

        Raises Unauthorized, or KeysUnavailable while the ring is empty.
        """
        if not self.keys:
            raise KeysUnavailable("the keys for access tokens could not be read yet, try again later")
        named = [key for key in self.keys if kid is None or key.kid == kid]
        if not named:
            if self._on_missing is not None:
                self._on_missing()
            raise Unauthorized("the access token is signed with an unknown key (kid)")
        fitting = [key for key in named if algorithm in key.algorithms]
        if not fitting:
            raise Unauthorized("the key of the access token does not fit its algorithm (alg)")
        if len(fitting) > 1:
            raise Unauthorized("the access token does not say which key it is signed with (kid)")
        return fitting[0]


def _usable(jwks: list[Any]) -> Iterator[PublicKey]:
    for jwk in jwks:
        if not isinstance(jwk, dict) or not _is_for_signatures(jwk):
            continue
        algorithms = _algorithms(jwk)
        if not algorithms:
            continue
        try:
            material = jwt.PyJWK(jwk, min(algorithms)).key
        except jwt.PyJWTError:
            continue
        if jwk["kty"] == "RSA" and material.key_size < _RSA_MIN_BITS:
            continue
        kid = jwk.get("kid")
        yield PublicKey(kid if isinstance(kid, str) else None, algorithms, material)


def _is_for_signatures(jwk: dict[str, Any]) -> bool:
    """False also for a key with a private part (`d`): once that is published, anyone can sign with it."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        "d" not in jwk
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )  # fmt: skip


def _algorithms(jwk: dict[str, Any]) -> frozenset[str]:
    family = _RSA if jwk.get("kty") == "RSA" else _CURVES.get((str(jwk.get("kty")), str(jwk.get("crv"))), ())
    return frozenset(family) if jwk.get("alg") is None else frozenset(family) & {str(jwk["alg"])}
