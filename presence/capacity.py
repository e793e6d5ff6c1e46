"""Estimates how full the presence bucket is. Pure.

A full bucket refuses leaves too, so presence refuses joins before it is full. Presence asks NATS for the size of the
stream every few seconds. In between it estimates an upper bound, from the number of changes by all replicas and from
the length of those that this replica wrote.
"""

_NEW_MEMBERS_SHARE = 0.9
_NEW_CONNECTIONS_SHARE = 0.95
"""For more connections of users who are members already. The rest is for changes that do not make an entry larger."""
_CHANGE_LEAST_BYTES = 512
"""The least that a change is assumed to add. A member takes about 330 bytes, and more with a long avatar address."""
_OVERHEAD_BYTES = 200
"""The key and headers of a change, and what NATS adds."""


class BucketCapacity:
    def __init__(self) -> None:
        self._max_bytes = 0
        """0 while the limit is unknown, or if there is none."""
        self._bytes = 0
        self._sequence = 0
        self._mean_bytes = 0
        self._written_bytes = 0
        self._written = 0
        """Changes that this replica wrote since the last update."""

    def update(self, *, size_bytes: int, max_bytes: int, messages: int, sequence: int) -> None:
        """Take over what NATS reports of the stream.

        `max_bytes`: the limit, -1 for none. `sequence`: the stream's last.
        """
        self._bytes, self._max_bytes, self._sequence = size_bytes, max(0, max_bytes), sequence
        self._mean_bytes = size_bytes // max(1, messages)
        self._written_bytes = self._written = 0

    def count_write(self, value_bytes: int) -> None:
        """Count a change by this replica, with a value of this length."""
        self._written_bytes += value_bytes + _OVERHEAD_BYTES
        self._written += 1

    def count_refusal(self) -> None:
        """Record that NATS had no room for a change."""
        self._bytes = max(self._bytes, self._max_bytes)

    def has_room_for_members(self, sequence: int) -> bool:
        """Return whether new members may join. `sequence`: the last that this replica knows."""
        return self._is_below(_NEW_MEMBERS_SHARE, sequence)

    def has_room_for_connections(self, sequence: int) -> bool:
        """Return whether members may join with more connections."""
        return self._is_below(_NEW_CONNECTIONS_SHARE, sequence)

    def _is_below(self, share: float, sequence: int) -> bool:
        change_bytes = max(_CHANGE_LEAST_BYTES, self._mean_bytes, self._written_bytes // max(1, self._written))
        estimated = self._bytes + max(0, sequence - self._sequence) * change_bytes
        return not self._max_bytes or estimated < share * self._max_bytes
