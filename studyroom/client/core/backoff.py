"""How long to wait before another attempt."""

from collections.abc import Callable
from dataclasses import dataclass

Random = Callable[[], float]
"""Returns a number from 0 up to 1, such as `random.random`."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Bounds of the wait before an attempt."""

    base_seconds: float = 0.5
    cap_seconds: float = 20.0

    def wait(self, failures: int, random: Random) -> float:
        """Return a random wait in seconds with full jitter: all waits up to the bound are equally likely.

        The jitter is applied after the cap. Before it, clients that have failed often would all wait for the cap and
        come together.
        """
        # The power of a large number of failures would be too large for a float.
        return random() * min(self.cap_seconds, self.base_seconds * 2.0 ** min(failures, 32))
