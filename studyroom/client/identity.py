"""The identity of the user: an access token of the program, or a guest whom the server recognises."""

import inspect
import logging
from collections.abc import Awaitable, Callable

from studyroom.client.errors import StudyroomError
from studyroom.client.values import Failure

Token = str | Callable[[], str | Awaitable[str | None] | None]
"""An access token, or a function that returns one. A coroutine function is awaited."""

_log = logging.getLogger("studyroom.client")


class Identity:
    def __init__(self, token: Token | None, username: str | None, guest_token: str | None) -> None:
        self._token = token
        self.username = username
        """The name of a guest."""
        self._signed_in = False
        """Whether the program has given a token. Its user must not become a guest."""
        self.guest_token = guest_token
        """The token by which the server recognises a guest. Every connection of a guest returns one."""

    @property
    def renews_token(self) -> bool:
        """Whether another attempt may have another token."""
        return callable(self._token)

    async def credentials(self) -> tuple[dict[str, str], dict[str, str | None]]:
        """Return the headers and the parameters of a request.

        Raises StudyroomError with `token_failed` if the program's function fails, and with `no_token` if it returns
        none for a user who was signed in.
        """
        token = await self.fetch()
        if token:
            self._signed_in = True
            return {"Authorization": f"Bearer {token}"}, {}
        if self._signed_in:
            raise StudyroomError(Failure("no_token", "there is no token for a user who was signed in"))
        headers = {"Authorization": f"Guest {self.guest_token}"} if self.guest_token else {}
        return headers, {"username": self.username}

    async def fetch(self) -> str | None:
        """Return the token of the program. Raises StudyroomError with `token_failed` if its function fails."""
        if not callable(self._token):
            return self._token
        try:
            token = self._token()
            return await token if inspect.isawaitable(token) else token
        except Exception as error:  # a function of the program may raise anything
            _log.exception("the function for the token has failed")
            raise StudyroomError(Failure("token_failed", repr(error))) from error
