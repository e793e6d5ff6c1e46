"""A gateway in which looking at a credential fails, as a fault in that code would.

Run instead of `studyroom gateway`, to see what it logs then.
"""

import hmac
from typing import Any

from studyroom.gateway.auth.guests import Guests
from studyroom.gateway.auth.tokens import Tokens
from studyroom.services.stack.cli import main


def _fail(_self: object, _credential: str | None) -> Any:
    raise RuntimeError("a fault where credentials are looked at")


def _fail_to_compare(given: bytes, expected: bytes) -> bool:
    raise RuntimeError(f"a fault where {len(given)} and {len(expected)} bytes are compared")


Tokens.claims = _fail  # type: ignore[method-assign,assignment]
Guests.recognise = _fail  # type: ignore[method-assign,assignment]
hmac.compare_digest = _fail_to_compare  # type: ignore[assignment]

if __name__ == "__main__":
    main()
