"""Which refusals are final, and which pass."""

import re

from studyroom.shared.contract.errors import ErrorCode

_TRANSIENT = re.compile("unavailable|busy|limited|in_room|internal")
_FINAL = frozenset(
    {
        "bad_handshake",
        "banned",
        "headers_too_large",
        "host_not_allowed",
        "not_found",
        "origin_not_allowed",
        "upgrade_required",
    }
)
"""Another handshake would get the same refusal (docs/protocol.md, Connecting)."""
_UNAUTHORIZED_MAX = 3
"""A server may refuse a token for a moment, and a program may give an old one once."""


def is_transient(code: str) -> bool:
    """Return whether the same message may succeed a little later."""
    return _TRANSIENT.search(code) is not None


class Refusals:
    """The refused handshakes in a row."""

    def __init__(self, *, renews_token: bool) -> None:
        """`renews_token`: another attempt may have another token."""
        self._unauthorized_max = _UNAUTHORIZED_MAX if renews_token else 1
        self._unauthorized = 0

    def accepted(self) -> None:
        self._unauthorized = 0

    def is_final(self, code: str) -> bool:
        """Count this refusal. Return whether the client should stop."""
        if code == ErrorCode.UNAUTHORIZED:
            self._unauthorized += 1
        return code in _FINAL or self._unauthorized >= self._unauthorized_max
