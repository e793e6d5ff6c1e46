"""How long to wait before the next attempt to connect. Times are monotonic seconds."""

import random

_FIRST_WAIT_SECONDS = 0.1
_STEADY_SECONDS = 5.0
"""A connection that has lasted for so long was no failed attempt; one that ended sooner was."""


class Attempts:
    def __init__(self, longest_wait_seconds: float) -> None:
        self._longest = longest_wait_seconds
        self._failed = 0
        self._connected_at: float | None = None

    def connected(self, now: float) -> None:
        self._connected_at = now

    def wait_seconds(self, now: float) -> float:
        """Before the attempt that is made next: growing, with full jitter."""
        if self._connected_at is not None and now - self._connected_at > _STEADY_SECONDS:
            self._failed = 0
        self._connected_at = None
        wait = min(self._longest, _FIRST_WAIT_SECONDS * 2 ** min(self._failed, 16))
        self._failed += 1
        return random.uniform(0, wait)  # noqa: S311 - jitter
