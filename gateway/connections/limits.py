"""Limits on what one client may send and leave unread. Pure: the elapsed time is an argument."""

from dataclasses import dataclass

_BURST_SECONDS = 2
PATIENCE_SECONDS = 10.0
"""A client may exceed its rate by this many seconds' worth before the gateway stops reading from it for a while."""
_PATIENCE_PER_SECOND = 4.0
JOIN_COST = 60
"""The allowance for joins is counted in parts of a join, so that every second adds a whole number of parts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one client. `str()` names its rates."""

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
        """The share of a second's allowance that a message of `size` bytes uses."""
        return max(1 / self.messages_per_second, size / self.bytes_per_second)

    def __str__(self) -> str:
        return f"{self.messages_per_second} messages or {self.bytes_per_second} bytes a second"


def refilled(left: float, elapsed_seconds: float, *, per_second: float, burst: float) -> float:
    """The remaining allowance after some time, when `left` remained before.

    A connection is refilled every second. If more time has passed, the process was paused, and everything that clients
    sent meanwhile comes at once. So the allowance may exceed the burst, for as long as the pause was.
    """
    gained = max(0.0, elapsed_seconds) * per_second
    most = max(burst, gained)
    return min(left + gained, most) if left <= most else max(most, left - gained)


def regained(patience: float, elapsed_seconds: float) -> float:
    """The patience (seconds) that a client has after some time."""
    return min(PATIENCE_SECONDS, patience + max(0.0, elapsed_seconds) * _PATIENCE_PER_SECOND)
