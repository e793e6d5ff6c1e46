"""How much one client may send and leave unread."""

from dataclasses import dataclass

_BURST_BEATS, _FLOOD_BEATS = 2, 10
_BEATS_PER_MINUTE = 60
JOIN_COST = _BEATS_PER_MINUTE
"""What may be joined is counted in such parts of a join that each beat gives a whole number of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may send and leave unread. `str()` names its rates."""

    messages_per_beat: int
    bytes_per_beat: int
    bytes_burst: int
    write_buffer_max_bytes: int
    join_parts_per_beat: int
    join_parts_burst: int

    @property
    def messages_burst(self) -> int:
        return _BURST_BEATS * self.messages_per_beat

    @property
    def messages_flood(self) -> int:
        """Who sends so many more than allowed is closed."""
        return _FLOOD_BEATS * self.messages_per_beat

    @property
    def bytes_flood(self) -> int:
        return _FLOOD_BEATS * self.bytes_per_beat

    def __str__(self) -> str:
        return f"{self.messages_per_beat} messages or {self.bytes_per_beat} bytes a second"
