"""How full the bucket of members is: a full one refuses leaves too, so joins stop before it is. Pure.

NATS tells the size of the stream every few seconds. In between it is estimated from above, by the sequences that were
given since, to any replica, and by the length of what this one wrote.
"""

_NEW_MEMBERS_SHARE = 0.9
_NEW_CONNECTIONS_SHARE = 0.95
"""Of members that are there already. The rest is for changes that make an entry smaller, or no larger."""
_CHANGE_LEAST_BYTES = 512
"""What a change is taken to add: a member has about 330, and more with a long address of an avatar."""
_AROUND_BYTES = 200
"""Of a change: key, headers, and what NATS adds."""


class Fill:
    def __init__(self) -> None:
        self._max_bytes = 0
        """0 while it is not known, or not limited."""
        self._bytes = 0
        self._sequence = 0
        self._mean_bytes = 0
        self._written_bytes = 0
        self._written = 0
        """By this replica, since the last look."""

    def looked(self, *, size_bytes: int, max_bytes: int, messages: int, sequence: int) -> None:
        """What NATS tells of the stream. `max_bytes`: -1 for any number; `sequence`: its last."""
        self._bytes, self._max_bytes, self._sequence = size_bytes, max(0, max_bytes), sequence
        self._mean_bytes = size_bytes // max(1, messages)
        self._written_bytes = self._written = 0

    def wrote(self, value_bytes: int) -> None:
        """A change with a value of this length."""
        self._written_bytes += value_bytes + _AROUND_BYTES
        self._written += 1

    def refused(self) -> None:
        """NATS had no room for a change."""
        self._bytes = max(self._bytes, self._max_bytes)

    def takes_members(self, sequence: int) -> bool:
        """`sequence`: the last that is known."""
        return self._is_below(_NEW_MEMBERS_SHARE, sequence)

    def takes_connections(self, sequence: int) -> bool:
        """More of those who are members."""
        return self._is_below(_NEW_CONNECTIONS_SHARE, sequence)

    def _is_below(self, share: float, sequence: int) -> bool:
        change_bytes = max(_CHANGE_LEAST_BYTES, self._mean_bytes, self._written_bytes // max(1, self._written))
        estimated = self._bytes + max(0, sequence - self._sequence) * change_bytes
        return not self._max_bytes or estimated < share * self._max_bytes
