"""What one client sends and reads, measured: the part of a connection that says when it is too much, or too slow.

A base class and no object of its own: there is one for every connection, and its numbers change with every message.
"""

import time

from studyroom.gateway.connections.client_socket import NOWHERE, Socket
from studyroom.gateway.connections.limits import PATIENCE_SECONDS, Limits, calmed, refilled
from studyroom.gateway.connections.session import Session
from studyroom.gateway.rooms.room import Room


class Metered:
    __slots__ = (
        "_bytes_left",
        "_frames_left",
        "_limits",
        "_messages_left",
        "_patience",
        "_progress_bytes",
        "_refilled_at",
        "_session",
        "held",
        "held_beats",
        "lagging_since",
        "silent_beats",
        "socket",
    )

    def __init__(self, limits: Limits, session: Session[Room]) -> None:
        """`session`: whose joins are counted."""
        self.socket: Socket = NOWHERE
        self._limits = limits
        self._session = session
        self._messages_left: float = limits.messages_burst
        self._bytes_left: float = limits.bytes_burst
        self._frames_left: float = limits.messages_burst
        """Frames that are no messages: fragments, pings and pongs."""
        self._refilled_at = time.monotonic()
        self._patience = PATIENCE_SECONDS
        """How much more than it may the client may still send before it is read more slowly."""
        self.held = False
        """Nothing is read of the client for now, since it sends too much."""
        self.held_beats = 0
        """Heartbeats in a row that found it so."""
        self.silent_beats = 0
        """Heartbeats since anything was heard of the client."""
        self.lagging_since: int | None = None
        """The beat at which a client that reads too slowly had last read something; None while it keeps up."""
        self._progress_bytes = 0
        """Of its socket, then."""

    # --- what it sends ---

    def burdened(self) -> None:
        self._frames_left -= 1
        if self._frames_left < 0:
            self._refill(time.monotonic())
        if self._frames_left < 0:
            self._frames_left += 1
            self._exceed(0)

    @property
    def _is_active(self) -> bool:
        """A message has come lately."""
        return self._messages_left < self._limits.messages_burst

    def _is_within(self, size: int) -> bool:
        """The allowance was used up by a message of so many bytes, as it was at the last refill: whether it is now."""
        self._refill(time.monotonic())
        if self._messages_left >= 0 and self._bytes_left >= 0:
            return True
        self._messages_left += 1  # what is not carried out does not count
        self._bytes_left += size
        self._exceed(size)
        return False

    def _exceed(self, size: int) -> None:
        """One message more than the client may send: beyond what is put up with it is read more slowly."""
        self._patience -= self._limits.excess_seconds(size)
        if self._patience < 0 and not self.held:
            self.held = True
            self.socket.hold()

    def _refill_with_beat(self, now: float) -> None:
        """The client is read again, when it was held for long enough."""
        self.held_beats = self.held_beats + 1 if self.held else 0
        self._refill(now)
        if self.held and self._patience > 0:
            self.held = False
            self.socket.release()

    def _refill(self, now: float) -> None:
        """`now`: monotonic seconds."""
        limits, session = self._limits, self._session
        elapsed = now - self._refilled_at
        self._refilled_at = now
        rate, burst = limits.messages_per_second, limits.messages_burst
        if self._messages_left != burst:
            self._messages_left = refilled(self._messages_left, elapsed, per_second=rate, burst=burst)
        if self._frames_left != burst:
            self._frames_left = refilled(self._frames_left, elapsed, per_second=rate, burst=burst)
        rate, burst = limits.bytes_per_second, limits.bytes_burst
        if self._bytes_left != burst:
            self._bytes_left = refilled(self._bytes_left, elapsed, per_second=rate, burst=burst)
        rate, burst = limits.join_parts_per_second, limits.join_parts_burst
        if session.join_parts_left != burst:
            session.join_parts_left = refilled(session.join_parts_left, elapsed, per_second=rate, burst=burst)
        if self._patience != PATIENCE_SECONDS:
            self._patience = calmed(self._patience, elapsed)

    # --- what it reads ---

    @property
    def lagging(self) -> bool:
        return self.lagging_since is not None

    def _begin_to_lag(self, beat: int) -> None:
        self.lagging_since = beat
        self._progress_bytes = self.socket.progress_bytes

    def beats_without_reading(self, beat: int) -> int:
        """Of a client that reads too slowly: how many beats it has read nothing at all; 0 for others."""
        if self.lagging_since is None:
            return 0
        progress = self.socket.progress_bytes
        if progress > self._progress_bytes:
            self._progress_bytes, self.lagging_since = progress, beat
        return beat - self.lagging_since
