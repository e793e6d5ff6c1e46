"""Who is let in: the decision about a well-formed handshake."""

import random

from gateway.app import WEBSOCKET_PATH
from gateway.credentials import Unauthorized
from gateway.drain import Drain
from gateway.identity import Authenticator, Identity
from gateway.key_ring import KeysUnavailable
from gateway.origins import is_allowed
from gateway.settings import GatewaySettings
from gateway.upgrade import Handshake, Refused
from shared.errors import ErrorCode

_RETRY_AFTER_SECONDS = (1, 10)
"""Of a gateway that cannot let anybody in now, a random time between these."""


class Door:
    def __init__(self, settings: GatewaySettings, authenticator: Authenticator, drain: Drain) -> None:
        self._connections_max = settings.connections_max
        self._origins = frozenset(settings.origins)
        self._authenticator = authenticator
        self._drain = drain

    def decide(  # noqa: PLR0911 - one answer per reason
        self, handshake: Handshake, *, connections: int
    ) -> Identity | Refused:
        """`connections`: how many there are."""
        if handshake.path != WEBSOCKET_PATH:
            return Refused(404, ErrorCode.NOT_FOUND, f"WebSockets are at {WEBSOCKET_PATH}")
        headers = handshake.headers
        if not is_allowed(headers.get("origin"), headers.get("host", ""), self._origins):
            return Refused(403, ErrorCode.ORIGIN_NOT_ALLOWED, "pages of this origin may not connect here")
        if self._drain.active:
            return Refused(503, ErrorCode.DRAINING, "this gateway is about to stop", (("Retry-After", "1"),))
        if 0 < self._connections_max <= connections:
            return _for_now(ErrorCode.TOO_MANY_CONNECTIONS, "this gateway is full, try again later")
        try:
            return self._authenticator.identify(handshake.query, handshake.headers)
        except Unauthorized as error:
            return Refused(401, ErrorCode.UNAUTHORIZED, str(error), (("WWW-Authenticate", "Bearer"),))
        except KeysUnavailable as error:
            return _for_now(ErrorCode.KEYS_UNAVAILABLE, str(error))


def _for_now(code: ErrorCode, message: str) -> Refused:
    retry = str(random.randint(*_RETRY_AFTER_SECONDS))  # noqa: S311 - jitter
    return Refused(503, code, message, (("Retry-After", retry),))
