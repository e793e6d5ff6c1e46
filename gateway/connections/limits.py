"""How much one client may send and leave unread. Pure: the time that passed is an argument."""

from dataclasses import dataclass

_BURST_SECONDS = 2
PATIENCE_SECONDS = 10.0
"""So much more than allowed is read at once: each message beyond the allowance costs what it takes of a second."""
_PATIENCE_PER_SECOND = 4.0
JOIN_COST = 60
"""What may be joined is counted in such parts of a join that each second gives a whole number of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may send and leave unread. `str()` names its rates."""

    messages_per_second: int
    bytes_per_second: int
    bytes_burst: int
    write_buffer_max_bytes: int
    join_parts_per_second: int
    join_parts_burst: int

    @property
    def messages_burst(self) -> int:
        return _BURST_SECONDS * self.messages_per_second

    def excess_seconds(self, size: int) -> float:
        """The part of a second that a message of so many bytes takes."""
        return max(1 / self.messages_per_second, size / self.bytes_per_second)

    def __str__(self) -> str:
        return f"{self.messages_per_second} messages or {self.bytes_per_second} bytes a second"


def refilled(left: float, elapsed_seconds: float, *, per_second: float, burst: float) -> float:
    """What is left of an allowance after a time.

    A connection is refilled every second. When more time has passed, the process stood still, and what it did not read
    meanwhile comes all at once: for that there is more than the burst, for as long again.
    """
    gained = max(0.0, elapsed_seconds) * per_second
    most = max(burst, gained)
    return min(left + gained, most) if left <= most else max(most, left - gained)


def calmed(patience: float, elapsed_seconds: float) -> float:
    """The patience that there is after a time."""
    return min(PATIENCE_SECONDS, patience + max(0.0, elapsed_seconds) * _PATIENCE_PER_SECOND)
