"""Sends a newer access token before the present one expires, so that the connection stays open."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from studyroom.client.core.wire import Refusal
from studyroom.client.errors import StudyroomError
from studyroom.shared.contract.identification import Authenticate, AuthenticatePayload
from studyroom.shared.contract.messages import (
    Authenticated,
    ServerMessage,
    WelcomePayload,
)

_EARLY_SECONDS = 60.0
_EARLY_SHARE = 0.25
"""The next token is fetched so long before the present one expires, or after three quarters of its life."""
_JITTER = 0.5
"""Clients whose tokens expire together come one after another, over this share of that time."""
_RETRY_SECONDS, _RETRY_SHARE, _RETRY_LEAST_SECONDS = 5.0, 0.25, 0.5
"""The wait after a failure: the first, or this share of the time that is left, but not less than the last."""
_REFUSED = frozenset({"unauthorized", "keys_unavailable"})
_MILLISECONDS = 1000

_log = logging.getLogger("studyroom.client")


class Renewal:
    """The renewal of the tokens of one connection after another. It runs between `opened` and `stop`."""

    def __init__(
        self, fetch: Callable[[], Awaitable[str | None]], send: Callable[[Authenticate], None], now: Callable[[], float]
    ) -> None:
        """`fetch`: asks the program for a token. Raises StudyroomError. `now`: the clock of the event loop."""
        self._fetch = fetch
        self._send = send
        self._now = now
        self._offset = 0.0
        """The clock of the server, in Unix seconds, minus that of the event loop."""
        self._expires_at = 0.0
        """When the present token expires, on the clock of the event loop."""
        self._task: asyncio.Task[None] | None = None

    def opened(self, welcome: WelcomePayload) -> None:
        self._offset = welcome.server_time / _MILLISECONDS - self._now()
        self._expires(welcome.expires_at)

    def received(self, message: ServerMessage | Refusal) -> None:
        if isinstance(message, Authenticated):
            self._expires(message.payload.expires_at)
        elif isinstance(message, Refusal) and message.id is None and message.failure.code in _REFUSED:
            self._start(self._retry_seconds())

    def stop(self) -> None:
        """The connection has ended."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _expires(self, at_milliseconds: int | None) -> None:
        self.stop()
        if at_milliseconds is None:
            return
        self._expires_at = at_milliseconds / _MILLISECONDS - self._offset
        life = self._expires_at - self._now()
        early = min(_EARLY_SECONDS, life * _EARLY_SHARE) * (1 + random.random() * _JITTER)  # noqa: S311 - jitter
        self._start(life - early)

    def _start(self, wait_seconds: float) -> None:
        self.stop()
        self._task = asyncio.create_task(self._renew(wait_seconds), name="studyroom client: token")

    async def _renew(self, wait_seconds: float) -> None:
        while True:
            await asyncio.sleep(wait_seconds)
            wait_seconds = self._retry_seconds()
            try:
                token = await self._fetch()
            except StudyroomError:
                continue  # `fetch` has logged it
            if not token:
                continue
            try:
                message = Authenticate(payload=AuthenticatePayload(token=token))
            except ValueError:
                _log.warning("the function for the token has returned one that is too long")
                continue
            self._send(message)
            return

    def _retry_seconds(self) -> float:
        left = self._expires_at - self._now()
        return max(_RETRY_LEAST_SECONDS, min(_RETRY_SECONDS, left * _RETRY_SHARE))
