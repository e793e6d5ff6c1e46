"""Keys of trusted backends: random, so a plain SHA-256 of them may stand in a configuration.

A slow hash protects what people choose. Of 256 random bits nobody finds the one that has a given hash.
"""

import hmac
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256

_PREFIX = "studyroom_"
"""So that scanners for leaked secrets, and people, know one when they see it."""
_KEY_BYTES = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{64}")
_BEARER = "bearer "


def new_api_key() -> str:
    return _PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def entry_of(name: str, key: str) -> str:
    """What the configuration has of a key. Raises ValueError for a name that cannot be one."""
    if _NAME.fullmatch(name) is None:
        raise ValueError("a name has up to 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit")
    return f"{name}:{_hash(key)}"


def check_entries(entries: Iterable[str]) -> None:
    """Raises ValueError, without the value."""
    pairs = [entry.partition(":") for entry in entries]
    if any(_NAME.fullmatch(name) is None or _HASH.fullmatch(hashed) is None for name, _, hashed in pairs):
        raise ValueError("an entry is name:hash as `studyroom api-key NAME` prints it")
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise ValueError("two keys have the same name: the log could not tell them apart")


class ApiKeys:
    """Those that are good now; several while one takes the place of another."""

    def __init__(self, entries: Iterable[str]) -> None:
        """`entries`: checked ones."""
        self._hashes = [(name, hashed) for name, _, hashed in (entry.partition(":") for entry in entries)]

    def name_of(self, authorization: str) -> str | None:
        """The name of the key in this `Authorization` header; None when there is none that is good."""
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return None
        given = _hash(authorization[len(_BEARER) :].strip())
        # All are compared, so that the time tells nothing of which.
        found = [name for name, hashed in self._hashes if hmac.compare_digest(given, hashed)]
        return found[0] if found else None


def _hash(key: str) -> str:
    return sha256(key.encode()).hexdigest()
