"""Access tokens of tests that need no issuer of their own: signed with a secret that gateways are given."""

import time
from typing import Any

import jwt

SECRET = "a secret for tests, long enough for HS256"
_LIFE_SECONDS = 86_400


def token_of(user: str, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time()) + _LIFE_SECONDS, **claims}, SECRET, algorithm="HS256")
