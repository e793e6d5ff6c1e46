"""Values of which only the newest counts, at most one in each interval."""

import math
from typing import Generic, TypeVar

T = TypeVar("T")


class Throttle(Generic[T]):
    """Lets the first value through at once, then the last one that has come meanwhile."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._waiting: T | None = None
        self._free_at = -math.inf

    def put(self, value: T) -> None:
        self._waiting = value

    def clear(self) -> None:
        self._waiting = None

    def take(self, now: float) -> T | None:
        """Return the value to send now, or None."""
        if self._waiting is None or now < self._free_at:
            return None
        value, self._waiting = self._waiting, None
        self._free_at = now + self._interval_seconds
        return value

    @property
    def wake_at(self) -> float:
        """The time at which the next value may be sent."""
        return math.inf if self._waiting is None else self._free_at
