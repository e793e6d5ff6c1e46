"""One sweep for everything that has to happen after a while, for all connections at once."""

import asyncio
import math
import time
from collections.abc import Iterable
from operator import itemgetter

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.settings import ConnectionSettings
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.wire.framing import PING_FRAME
from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets, UnreadAnswers
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.memory import HighWaterMark, trim
from studyroom.shared.contract.close_codes import CloseCode

log = logs.get(__name__)

SWEEP_SECONDS = 1.0
_LOOKS = 4
"""Times that what is unread is counted before it can have grown from nothing to what is allowed."""
_WORTH_GIVING_BACK = 1000
"""Connections; when half of so many or more have gone, the memory they had is given back."""


class Heartbeat:
    """Pings the silent, closes the dead, the slow, the idle and those whose token has expired, ends sockets that do not
    finish closing or their request or to read its answer."""

    def __init__(
        self,
        settings: ConnectionSettings,
        connections: Iterable[Connection],
        awaited: AwaitedRequests,
        unread: UnreadAnswers,
        plain: PlainSockets,
        metrics: GatewayMetrics,
    ) -> None:
        self._ping_beats = max(1, round(settings.ping_interval_seconds / SWEEP_SECONDS))
        self._timeout_beats = max(2, round(settings.ping_timeout_seconds / SWEEP_SECONDS))
        self._flood_beats = max(1, round(settings.flood_seconds / SWEEP_SECONDS))
        self._slow_beats = max(1, round(settings.slow_seconds / SWEEP_SECONDS))
        self._idle_beats = max(1, round(settings.idle_seconds / SWEEP_SECONDS)) if settings.idle_seconds else math.inf
        self._unread_max_bytes = settings.write_buffers_max_bytes
        self._close_timeout_seconds = settings.close_timeout_seconds
        self._leeway_seconds = settings.jwt_leeway_seconds
        self._connections = connections
        self._awaited = awaited
        self._unread = unread
        self._plain = plain
        self._metrics = metrics
        self._high_water = HighWaterMark(at_least=_WORTH_GIVING_BACK)
        self._more_unread_bytes = 0
        """Written to who reads too slowly since all they leave unread was last counted."""
        self.beat = 0

    async def run(self) -> None:
        last, excused = time.monotonic(), False
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.beat += 1
            now = time.monotonic()
            # What came while we stood still is not read yet: it is looked at with the next beat whether it was late.
            excused = not excused and now - last > 2 * SWEEP_SECONDS
            last = now
            if not excused:
                self._metrics.late_heads.inc(self._awaited.abort_late())
                self._metrics.unread_answers.inc(self._unread.abort_late())
            self._metrics.idle_sockets.inc(self._plain.take_ended())
            expired_by = time.time() - self._leeway_seconds
            connections = list(self._connections)
            for connection in connections:
                try:
                    self._check(connection, now, expired_by)
                except Exception:
                    # The others must not miss their beat.
                    log.exception("a connection could not be seen to")
                    connection.close(CloseCode.INTERNAL_ERROR, "an error on our side")
            self._bound_unread()
            if self._high_water.has_halved(len(connections)):
                await asyncio.to_thread(trim)

    def _check(self, connection: Connection, now: float, expired_by: float) -> None:
        """`expired_by`: tokens that were good until then are not good any more (Unix seconds); `now`: monotonic."""
        closing_since = connection.closing_since
        connection.silent_beats = (
            0 if connection.held else connection.silent_beats + 1
        )  # held: it is we who do not listen
        silent = connection.silent_beats
        connection.refill(self.beat, now)
        if closing_since is not None:
            if now - closing_since > self._close_timeout_seconds:
                connection.abort()
        elif connection.held_beats >= self._flood_beats:
            connection.close(CloseCode.FLOOD, "far too much was sent for too long")
        elif connection.lagging_since is not None and connection.beats_without_reading(self.beat) > self._slow_beats:
            connection.close_slow("nothing was read for too long")
        elif connection.expires_at <= expired_by:
            connection.close(CloseCode.TOKEN_EXPIRED, "the access token has expired")
        elif self.beat - connection.active_beat >= self._idle_beats:
            connection.close(CloseCode.IDLE, "in no room, and nothing was said")
        elif silent >= self._timeout_beats:
            connection.close(CloseCode.PING_TIMEOUT, "nothing was heard")
        elif silent == self._ping_beats:
            connection.socket.write(PING_FRAME)

    def more_unread(self, size: int) -> None:
        """So many bytes more were written to who reads too slowly: where that is much, it is not left for a beat."""
        if self._more_unread_bytes < self._unread_max_bytes // _LOOKS <= self._more_unread_bytes + size:
            asyncio.get_running_loop().call_soon(self._bound_unread)
        self._more_unread_bytes += size

    def _bound_unread(self) -> None:
        """What all leave unread together is bounded; those who leave most go first."""
        self._more_unread_bytes = 0
        lagging = [connection for connection in self._connections if connection.lagging]
        unread = sorted(((connection.socket.buffered_bytes, connection) for connection in lagging), key=itemgetter(0))
        total = sum(size for size, _ in unread)
        while total > self._unread_max_bytes:
            size, connection = unread.pop()
            connection.close_slow("all clients together left too much unread")
            connection.abort()
            total -= size
