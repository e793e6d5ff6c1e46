"""The part of a connection that every message passes: enforces rates, and takes cursors by their shortcut.

It also finds slow consumers.

It is a base class, and not a separate object, because its numbers change with every message of every connection.
"""

import time

from studyroom.gateway.connections.client_socket import NOWHERE, Socket
from studyroom.gateway.connections.cursor_move import cursor_update
from studyroom.gateway.connections.limits import PATIENCE_SECONDS, Limits, refilled, regained
from studyroom.gateway.connections.session import InRoom, Joining, Session
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.cursors import Cursors
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.wire.framing import text_frame
from studyroom.gateway.wire.items import Kind
from studyroom.gateway.wire.traffic import Traffic
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.messages import ClientMessage, CursorMove

_CURSOR_MOVE = b'{"type":"CursorMove"'


class Metered:
    __slots__ = (
        "_bytes_left",
        "_cursors",
        "_frames_left",
        "_is_full",
        "_limits",
        "_messages_left",
        "_patience",
        "_progress_bytes",
        "_refilled_at",
        "_session",
        "_traffic",
        "_update_prefix",
        "active_beat",
        "held",
        "held_beats",
        "lagging_since",
        "silent_beats",
        "socket",
        "user",
    )

    def __init__(self, user: UserId, limits: Limits, session: Session[Room], traffic: Traffic) -> None:
        """`session`: has the allowance for joins, which is refilled here."""
        self.socket: Socket = NOWHERE
        self.user = user
        self._traffic = traffic
        self._cursors: Cursors | None = None
        """The cursors of the room while the session is `InRoom`, otherwise None: a shortcut for the most frequent
        message. Set this after every transition of the session."""
        self._update_prefix = b""
        self._limits = limits
        self._session = session
        self._messages_left: float = limits.messages_burst
        self._bytes_left: float = limits.bytes_burst
        self._frames_left: float = limits.messages_burst
        """The allowance for frames that are not messages: fragments, pings and pongs."""
        self._refilled_at = time.monotonic()
        self._is_full = True
        """All allowances were full after the last refill."""
        self._patience = PATIENCE_SECONDS
        """The excess (in seconds of its rate) that the client may still send before the gateway stops reading for a
        while."""
        self.held = False
        """The gateway reads nothing from the client for now, because it sends too much."""
        self.held_beats = 0
        """How many beats in a row have found the client held."""
        self.active_beat = 0
        """The last beat before which the client had sent a message, or at which it was in a room."""
        self.silent_beats = 0
        """Beats since the client sent anything."""
        self.lagging_since: int | None = None
        """The beat at which a slow consumer last read anything; None for other clients."""
        self._progress_bytes = 0
        """The progress of the socket at that beat."""

    @property
    def closing_since(self) -> float | None:
        """When the closing handshake began (monotonic seconds); None if it has not begun."""
        return self.socket.closing_since

    def abort(self) -> None:
        self.socket.abort()

    # --- sending ------------------------------------------------------------------------------------------

    def received(self, payload: bytes) -> None:
        """A whole text message, in valid UTF-8."""
        traffic = self._traffic
        traffic.received += 1
        traffic.received_bytes += len(payload)
        self._messages_left -= 1
        self._bytes_left -= len(payload)
        if (self._messages_left < 0 or self._bytes_left < 0) and self._is_too_much(payload):
            return
        if self._cursors is not None:
            update = cursor_update(self._update_prefix, payload)
            if update is not None:
                traffic.cursor_shortcuts += 1
                self._cursors.move_cursor(self.user, text_frame(update), time.time_ns() // 1000)
                return
        self._read(payload)

    def _is_too_much(self, payload: bytes) -> bool:
        """The allowance is used up, unless a refill is enough. Handles the message if not."""
        raise NotImplementedError

    def _read(self, payload: bytes) -> None:
        """Take a message within the allowance that the shortcut does not recognise."""
        raise NotImplementedError

    def received_overhead(self) -> None:
        """Count a frame that is not a message."""
        self._frames_left -= 1
        if self._frames_left < 0:
            self._refill(time.monotonic())
        if self._frames_left < 0:
            self._frames_left += 1
            self._exceed(0)

    @property
    def _is_active(self) -> bool:
        """The client has sent a message lately."""
        return self._messages_left < self._limits.messages_burst

    def _is_within(self, size: int) -> bool:
        """Refill the allowance, which a message of `size` bytes has used up. Returns whether it is enough now."""
        self._refill(time.monotonic())
        if self._messages_left >= 0 and self._bytes_left >= 0:
            return True
        self._messages_left += 1  # a message that is not carried out does not count
        self._bytes_left += size
        self._exceed(size)
        return False

    def _exceed(self, size: int) -> None:
        """The client exceeds its rate with a message of `size` bytes. Without patience, stop reading for a while."""
        self._patience -= self._limits.excess_seconds(size)
        if self._patience < 0 and not self.held:
            self.held = True
            self.socket.hold()

    def _refill_with_beat(self, now: float) -> None:
        """Refill the allowances with a beat, and read from a held client again after a while."""
        self.held_beats = self.held_beats + 1 if self.held else 0
        self._refill(now)
        if self.held and self._patience > 0:
            self.held = False
            self.socket.release()

    def rests(self, beat: int, now: float) -> bool:
        """Whether nothing has come since the last beat, and nothing was used up or left unread by then.

        Then this does all that `refill` would do, in a fifth of the time.
        """
        if not self._is_full or not self.silent_beats or self.lagging_since is not None:
            return False
        if self.socket.closing_since is not None:
            return False
        self._refilled_at = now
        if self._session.state.room is not None:
            self.active_beat = beat
        return True

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
            self._patience = regained(self._patience, elapsed)
        self._is_full = (
            self._messages_left == self._frames_left == limits.messages_burst
            and self._bytes_left == limits.bytes_burst
            and session.join_parts_left == limits.join_parts_burst
            and self._patience == PATIENCE_SECONDS
        )

    # --- reading ------------------------------------------------------------------------------------------

    @property
    def lagging(self) -> bool:
        return self.lagging_since is not None

    def _begin_to_lag(self, beat: int) -> None:
        self.lagging_since = beat
        self._progress_bytes = self.socket.progress_bytes

    def beats_without_reading(self, beat: int) -> int:
        """For how many beats a slow consumer has read nothing at all; 0 for other clients."""
        if self.lagging_since is None:
            return 0
        progress = self.socket.progress_bytes
        if progress > self._progress_bytes:
            self._progress_bytes, self.lagging_since = progress, beat
        return beat - self.lagging_since


class RateLimited(Metered):
    """Handles the messages beyond the rate: the newest cursor is used later, and all others are refused."""

    __slots__ = ("_excess", "_metrics")

    def __init__(self, user: UserId, limits: Limits, session: Session[Room], metrics: GatewayMetrics) -> None:
        super().__init__(user, limits, session, metrics.traffic)
        self._metrics = metrics
        self._excess: str | CursorMove | None = None
        """The newest cursor beyond the client's rate. It is newer than any message that was carried out."""

    def _decode(self, text: str) -> ClientMessage | None:
        """The message; None if it is not valid, and the client got an error."""
        raise NotImplementedError

    def _receive(self, message: ClientMessage) -> None:
        """Carry out a message."""
        raise NotImplementedError

    def _refuse(self, code: ErrorCode, reason: str, message: ClientMessage) -> None:
        raise NotImplementedError

    def _is_too_much(self, payload: bytes) -> bool:
        """The allowance is used up, unless a refill is enough. Keeps the newest cursor and refuses other messages."""
        if self._is_within(len(payload)):
            self._settle_excess(payload)
            return False
        self._refuse_excess(payload)
        return True

    def _settle_excess(self, payload: bytes) -> None:
        """A message within the allowance follows. The kept cursor goes first, or is replaced by it."""
        if payload.startswith(_CURSOR_MOVE):
            self._drop_excess()
        elif self._excess is not None:
            self._use_excess()

    def _refuse_excess(self, payload: bytes) -> None:
        self._metrics.rate_limited.inc()
        if payload.startswith(_CURSOR_MOVE):
            self._keep_excess(str(payload, "utf-8"))
            return
        message = self._decode(str(payload, "utf-8"))
        if isinstance(message, CursorMove):
            self._keep_excess(message)
        elif message is not None:
            self._refuse(ErrorCode.RATE_LIMITED, f"more than {self._limits}", message)

    def _keep_excess(self, cursor: str | CursorMove) -> None:
        self._drop_excess()
        self._excess = cursor
        if self._messages_left >= 1:  # the cursor had too many bytes, and a later message must not overtake it
            self._bytes_left = 0

    def _drop_excess(self) -> None:
        """A newer cursor replaces it."""
        if self._excess is not None:
            self._excess = None
            self._traffic.conflated[Kind.CURSOR] += 1

    def _use_excess(self) -> None:
        excess, self._excess = self._excess, None
        if not isinstance(self._session.state, InRoom | Joining):
            return
        if (message := self._decode(excess) if isinstance(excess, str) else excess) is not None:
            self._receive(message)
