"""Bounds the requests of a kind that a gateway works on at a time, so that long ones leave memory to others."""

from collections.abc import Iterator
from contextlib import contextmanager

from studyroom.gateway.http.access import HttpRefusal
from studyroom.shared.contract.errors import ErrorCode

HTTP_TOO_MANY = 429


class Places:
    def __init__(self, most: int, what: str) -> None:
        """`most`: at a time. `what`: the plural of what they are, for people."""
        self._most = most
        self._what = what
        self._taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Have a place during the block. Raises HttpRefusal if all of them are taken."""
        if self._taken >= self._most:
            reason = f"this gateway works on {self._most} {self._what} already"
            raise HttpRefusal(HTTP_TOO_MANY, ErrorCode.RATE_LIMITED, reason, Retry_After="5")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
