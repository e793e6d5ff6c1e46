"""How often something may happen. Pure: the clock is an argument (monotonic seconds)."""

_BURST_SECONDS = 2


class TokenBucket:
    """So many a second, and what was not used of two seconds at once."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._burst = _BURST_SECONDS * per_second
        self._left = float(self._burst)
        self._at = 0.0

    def take(self, now: float) -> bool:
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


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
