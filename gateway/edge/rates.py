"""Rate limits: token buckets and a fixed window. Pure: the clock is an argument (monotonic seconds)."""

from collections.abc import Hashable

_BURST_SECONDS = 2
_SWEEP_MIN = 64
"""Number of buckets at which full ones are first removed."""


class TokenBucket:
    """A limit of `per_second`, with bursts of up to two seconds' worth."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._burst = _BURST_SECONDS * per_second
        self._tokens = float(self._burst)
        self._refilled_at = 0.0

    def take(self, now: float) -> bool:
        if not self.has(now):
            return False
        self._tokens -= 1
        return True

    def has(self, now: float) -> bool:
        """Whether `take` would succeed."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._refilled_at) * self._per_second)
        self._refilled_at = now
        return self._tokens >= 1

    def is_full(self, now: float) -> bool:
        """Whether the bucket is the same as a new one."""
        return self._tokens + (now - self._refilled_at) * self._per_second >= self._burst


class TokenBuckets:
    """One bucket for each key. Buckets that are full again are removed."""

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
        """Remove full buckets. The next sweep waits until the number doubles, so the cost per key stays constant."""
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(now)}
        self._sweep_at = max(_SWEEP_MIN, 2 * len(self._buckets))


class FixedWindow:
    """A limit of `per_second` for each address, counted from zero in every second."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = 0
        self._counts: dict[bytes, int] = {}

    def take(self, address: bytes, now: float) -> bool:
        if int(now) != self._second:
            self._second = int(now)
            self._counts.clear()
        count = self._counts.get(address, 0)
        self._counts[address] = count + 1
        return count < self._per_second
