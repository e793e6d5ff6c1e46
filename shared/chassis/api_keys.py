"""API keys of trusted backends. They are random, so the configuration may have plain SHA-256 hashes of them.

Passwords need a slow hash, because people choose guessable ones. Nobody can guess 256 random bits.
"""

import hmac
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256

_PREFIX = "studyroom_"
"""The prefix by which people and scanners for leaked secrets recognise a key."""
_KEY_BYTES = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{64}")
_BEARER = "bearer "


def new_api_key() -> str:
    return _PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def entry_of(name: str, key: str) -> str:
    """Return the `name:hash` of a key for the configuration. Raises ValueError if the name is invalid."""
    if _NAME.fullmatch(name) is None:
        raise ValueError("a name has up to 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit")
    return f"{name}:{_hash(key)}"


def check_entries(entries: Iterable[str]) -> None:
    """Check the entries of the configuration. Raises ValueError with a message that does not repeat them."""
    pairs = [entry.partition(":") for entry in entries]
    if any(_NAME.fullmatch(name) is None or _HASH.fullmatch(hashed) is None for name, _, hashed in pairs):
        raise ValueError("an entry is name:hash as `studyroom api-key NAME` prints it")
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise ValueError("two keys have the same name, so the log could not distinguish them")


class ApiKeys:
    """The valid keys. There are several while backends change from one to another."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Create it from entries that `check_entries` accepts."""
        self._hashes = [(name, hashed) for name, _, hashed in (entry.partition(":") for entry in entries)]

    def name_of(self, authorization: str) -> str | None:
        """Return the name of the key in an `Authorization` header; None if the header has no valid key."""
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return None
        given = _hash(authorization[len(_BEARER) :].strip())
        # All hashes are compared, so the time does not depend on which one matches.
        found = [name for name, hashed in self._hashes if hmac.compare_digest(given, hashed)]
        return found[0] if found else None


def _hash(key: str) -> str:
    return sha256(key.encode()).hexdigest()
