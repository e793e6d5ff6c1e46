"""The tokens of the probe: of a file, signed by itself, or none for guests."""

import time
from collections.abc import Callable, Sequence

import jwt

from studyroom.services.probe.settings import GatewayTokens, ProbeSettings

TokenOf = Callable[[str, Sequence[str]], str | None]
"""Returns the token of a user of the probe, `writer` or `reader`, for these rooms; None for a guest.

Raises OSError and UnicodeDecodeError if a file cannot be read.
"""
_LIFE_SECONDS = 300
"""Longer than the longest pass."""


def token_source(probe: ProbeSettings, gateway: GatewayTokens) -> TokenOf:
    """Return the function that makes or reads the tokens, as the settings say."""
    if probe.token_file is not None:
        file = probe.token_file
        return lambda _role, _rooms: file.read_text("utf-8").strip()
    if gateway.jwt_secret is None:
        return lambda _role, _rooms: None
    secret = gateway.jwt_secret.get_secret_value()
    of_issuer = {"iss": gateway.jwt_issuer, "aud": gateway.jwt_audience}
    claims = {claim: value for claim, value in of_issuer.items() if value is not None}

    def signed(role: str, rooms: Sequence[str]) -> str:
        user = {"sub": f"studyroom-probe-{role}", "name": f"Probe ({role})", "rooms": list(rooms)}
        return jwt.encode({**claims, **user, "exp": int(time.time()) + _LIFE_SECONDS}, secret, algorithm="HS256")

    return signed
