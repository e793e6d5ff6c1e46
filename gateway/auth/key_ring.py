"""The public keys of whoever signs access tokens, and which of them a token is to be checked with. Pure.

A key says what it may be used for, a token only which it was signed with: the algorithm must be one of the key's own
family, so a public key is never taken for a shared secret, nor an RSA key for one of another algorithm (RFC 8725
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
    """The keys have not been read even once: whether a token is good cannot be told."""


class BadKeys(ValueError):
    """Not a key set (RFC 7517), or none with a key of use here."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    kid: str | None
    algorithms: frozenset[str]
    """Those that it may be used with."""
    material: Any
    """As PyJWT takes it."""


def read_keys(document: object) -> tuple[PublicKey, ...]:
    """The keys of a JWK Set that can check signatures; what cannot is passed over. Raises BadKeys."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise BadKeys("not a JWK Set")
    keys = tuple(_usable(listed))
    if not keys:
        raise BadKeys("no key for signatures of RS, PS, ES or EdDSA")
    return keys


class KeyRing:
    """The keys that are known; somebody else reads them and puts them here."""

    def __init__(self, keys: tuple[PublicKey, ...] = (), *, on_missing: Callable[[], None] | None = None) -> None:
        """`on_missing`: called whenever a token names a key that is not here."""
        self.keys = keys
        self._on_missing = on_missing

    def find(self, algorithm: str, kid: str | None) -> PublicKey:
        """The one that a token names in its header; it may name none where only one is possible.

        Raises Unauthorized, or KeysUnavailable while there are no keys at all.
        """
        if not self.keys:
            raise KeysUnavailable("the keys of access tokens could not be read yet, try again later")
        named = [key for key in self.keys if kid is None or key.kid == kid]
        if not named:
            if self._on_missing is not None:
                self._on_missing()
            raise Unauthorized("the access token is signed with an unknown key (kid)")
        fitting = [key for key in named if algorithm in key.algorithms]
        if not fitting:
            raise Unauthorized("the key of the access token is not one for its algorithm (alg)")
        if len(fitting) > 1:
            raise Unauthorized("the access token does not say which key it is signed with (kid)")
        return fitting[0]


def _usable(listed: list[Any]) -> Iterator[PublicKey]:
    for one in listed:
        if not isinstance(one, dict) or not _is_for_signatures(one):
            continue
        algorithms = _algorithms(one)
        if not algorithms:
            continue
        try:
            material = jwt.PyJWK(one, min(algorithms)).key
        except jwt.PyJWTError:
            continue
        if one["kty"] == "RSA" and material.key_size < _RSA_MIN_BITS:
            continue
        kid = one.get("kid")
        yield PublicKey(kid if isinstance(kid, str) else None, algorithms, material)


def _is_for_signatures(one: dict[str, Any]) -> bool:
    """A key whose private half is published proves nothing."""
    operations = one.get("key_ops", ["verify"])
    return (
        "d" not in one
        and one.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )  # fmt: skip


def _algorithms(one: dict[str, Any]) -> frozenset[str]:
    family = _RSA if one.get("kty") == "RSA" else _CURVES.get((str(one.get("kty")), str(one.get("crv"))), ())
    return frozenset(family) if one.get("alg") is None else frozenset(family) & {str(one["alg"])}
