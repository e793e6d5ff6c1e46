"""How often something may happen. Pure: the clock is an argument (monotonic seconds)."""

from collections.abc import Hashable

_BURST_SECONDS = 2
_SWEEP_MIN = 64
"""Buckets, before those that are full are looked for."""


class TokenBucket:
    """So many a second, and what was not used of two seconds at once."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._burst = _BURST_SECONDS * per_second
        self._left = float(self._burst)
        self._at = 0.0

    def take(self, now: float) -> bool:
        if not self.has(now):
            return False
        self._left -= 1
        return True

    def has(self, now: float) -> bool:
        """Whether one may be taken."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        return self._left >= 1

    def is_full(self, now: float) -> bool:
        """As a new one would be."""
        return self._left + (now - self._at) * self._per_second >= self._burst


class TokenBuckets:
    """One for each key. A key that took nothing for a while is forgotten."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._buckets: dict[Hashable, TokenBucket] = {}
        self._sweep_at = _SWEEP_MIN

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, key: Hashable, now: float) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._sweep_at:
                self._sweep(now)
            bucket = self._buckets[key] = TokenBucket(self._per_second)
        return bucket

    def _sweep(self, now: float) -> None:
        """As much work as there were new keys since the last time."""
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(now)}
        self._sweep_at = max(_SWEEP_MIN, 2 * len(self._buckets))


class EachSecond:
    """So many of each address in every second. Who is quiet for a second is forgotten."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._second = 0
        self._counts: dict[bytes, int] = {}

    def take(self, address: bytes, now: float) -> bool:
        if int(now) != self._second:
            self._second = int(now)
            self._counts.clear()
        count = self._counts.get(address, 0)
        self._counts[address] = count + 1
        return count < self._at_most
