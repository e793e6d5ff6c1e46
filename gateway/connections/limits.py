"""Limits on what one client may send and leave unread. Pure: the elapsed time is an argument."""

from dataclasses import dataclass, field

_BURST_SECONDS = 2
PATIENCE_SECONDS = 10.0
"""A client may exceed its rate by this many seconds' worth before the gateway stops reading from it for a while."""
_PATIENCE_PER_SECOND = 4.0
RENAMES_PER_SECOND = 1
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
    broadcasts_per_second: int
    updates_per_second: int
    messages_burst: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages_burst", _BURST_SECONDS * self.messages_per_second)

    def excess_seconds(self, size: int) -> float:
        """The share of a second's allowance that a message of `size` bytes uses."""
        return max(1 / self.messages_per_second, size / self.bytes_per_second)

    def __str__(self) -> str:
        return f"{self.messages_per_second} messages or {self.bytes_per_second} bytes a second"


class Allowances:
    """The allowances of one connection for kinds of messages, each with a burst of twice its rate.

    An allowance is created and refilled when it is used, because most connections use none.
    """

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[float, float]] | None = None
        """The rest of each kind, and the time of that (monotonic seconds)."""

    def take(self, kind: str, per_second: int, now: float) -> bool:
        """Use the allowance for one message. False if it is used up. `now`: monotonic seconds."""
        if self._kinds is None:
            self._kinds = {}
        burst = _BURST_SECONDS * per_second
        left, refilled_at = self._kinds.get(kind, (burst, now))
        left = min(burst, left + max(0.0, now - refilled_at) * per_second)
        taken = left >= 1
        self._kinds[kind] = (left - taken, now)
        return taken


@dataclass(frozen=True, slots=True)
class StatedLimits:
    """The limits that `Welcome` names, so that clients do not send what the gateway refuses."""

    message_max_bytes: int
    chat_max_chars: int
    history_on_join: int
    living_chat: bool


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
