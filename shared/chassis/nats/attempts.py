"""Chooses the next server to connect to, and the wait before. Times are monotonic seconds."""

import random
from collections.abc import Sequence

_FIRST_WAIT_SECONDS = 0.1
_STEADY_SECONDS = 5.0
"""A connection that ends sooner counts as a failed attempt."""


class Attempts:
    def __init__(self, longest_wait_seconds: float) -> None:
        self._longest = longest_wait_seconds
        self._failed = 0
        self._connected_at: float | None = None
        self._tried: list[str] = []
        """Servers in the order of their last attempts."""

    def tried(self, server: str) -> None:
        if server in self._tried:
            self._tried.remove(server)
        self._tried.append(server)

    def next_server(self, servers: Sequence[str]) -> str:
        """Return the server whose last attempt is the oldest, so that a dead server never costs two in a row."""
        self._tried = [server for server in self._tried if server in servers]
        untried = [server for server in servers if server not in self._tried]
        chosen = random.choice(untried) if untried else self._tried[0]  # noqa: S311 - to spread clients
        self.tried(chosen)
        return chosen

    def connected(self, now: float) -> None:
        self._connected_at = now

    def wait_seconds(self, now: float) -> float:
        """Return the wait before the next attempt, which grows with failures and has full jitter."""
        if self._connected_at is not None and now - self._connected_at > _STEADY_SECONDS:
            self._failed = 0
        self._connected_at = None
        wait = min(self._longest, _FIRST_WAIT_SECONDS * 2 ** min(self._failed, 16))
        self._failed += 1
        return random.uniform(0, wait)  # noqa: S311 - jitter
