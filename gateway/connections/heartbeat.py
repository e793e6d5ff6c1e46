"""The heartbeat: one sweep a second checks the timeouts of all connections, so that none needs a timer."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Protocol

from studyroom.gateway.connections.client_socket import Socket
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.connections.settings import ConnectionSettings
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.wire.framing import PING_FRAME
from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets, UnreadAnswers
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.memory import HighWaterMark, empty_free_lists, trim
from studyroom.shared.chassis.ticks import next_tick
from studyroom.shared.contract.close_codes import CloseCode

log = logs.get(__name__)

SWEEP_SECONDS = 1.0
_UNREAD_CHECKS = 4
"""Unread bytes are counted at least this often while they grow from nothing to their limit."""
_TRIM_FROM_CONNECTIONS = 100
"""When half of this many or more connections have closed, the process returns their memory to the system."""
_TRIM_AGAIN_BEATS = 2
"""The process does so again after this time, because some connections were still closing the first time."""


class SlowReader(Protocol):
    """A client that leaves bytes unread."""

    @property
    def socket(self) -> Socket: ...
    def close_slow(self, reason: str) -> None: ...
    def abort(self) -> None: ...


class Heartbeat:
    """Pings silent clients. Closes connections that are dead, slow, idle or flooding, or whose token has expired. Ends
    sockets that do not finish the close handshake or their request, or do not read the response."""

    def __init__(
        self,
        settings: ConnectionSettings,
        connections: Registry[Connection],
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
        self._editors: Callable[[], Iterable[SlowReader]] = tuple
        self._high_water = HighWaterMark(at_least=_TRIM_FROM_CONNECTIONS)
        self._trim_at = 0
        """The beat at which memory is trimmed a second time."""
        self._more_unread_bytes = 0
        """Bytes written to slow consumers since all unread bytes were last counted."""
        self.beat = 0
        """Counts the sweeps."""

    def bound_also(self, editors: Callable[[], Iterable[SlowReader]]) -> None:
        """Count also what these clients leave unread. `editors` returns those that read too slowly."""
        self._editors = editors

    async def run(self) -> None:
        last, excused = time.monotonic(), False
        while True:
            await next_tick(SWEEP_SECONDS)
            self.beat += 1
            now = time.monotonic()
            # After a pause of this process, bytes that came in time may still be unread. So lateness counts from the
            # next beat on.
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
                    if not self._rests(connection, now, expired_by):
                        self._check(connection, now, expired_by)
                except Exception:
                    # The other connections must still be checked.
                    log.exception("the check of a connection failed")
                    connection.close(CloseCode.INTERNAL_ERROR, "internal error")
            self._bound_unread()
            if self._high_water.has_halved(len(connections)):
                self._trim_at = self.beat + _TRIM_AGAIN_BEATS
                await self._trim()
            elif self.beat == self._trim_at:
                await self._trim()

    async def _trim(self) -> None:
        """Return the memory of closed connections to the system."""
        self._connections.compact()
        empty_free_lists()
        await asyncio.to_thread(trim)

    def _rests(self, connection: Connection, now: float, expired_by: float) -> bool:
        """Whether nothing is due for a connection. Counts its silence then. The arguments are those of `_check`."""
        silent = connection.silent_beats + 1
        if silent >= self._ping_beats or self.beat - connection.active_beat >= self._idle_beats:
            return False
        if connection.expires_at <= expired_by or not connection.rests(self.beat, now):
            return False
        connection.silent_beats = silent
        return True

    def _check(self, connection: Connection, now: float, expired_by: float) -> None:
        """`now`: monotonic seconds. `expired_by`: tokens that expire then or earlier have expired (Unix seconds)."""
        closing_since = connection.closing_since
        # While a connection is held, this gateway does not read it, so silence means nothing.
        connection.silent_beats = 0 if connection.held else connection.silent_beats + 1
        silent = connection.silent_beats
        connection.refill(self.beat, now)
        if closing_since is not None:
            if now - closing_since > self._close_timeout_seconds:
                connection.abort()
        elif connection.held_beats >= self._flood_beats:
            connection.close(CloseCode.FLOOD, "you sent far too much for too long")
        elif connection.lagging_since is not None and connection.beats_without_reading(self.beat) > self._slow_beats:
            connection.close_slow("you read nothing for too long")
        elif connection.expires_at <= expired_by:
            connection.close(CloseCode.TOKEN_EXPIRED, "the access token has expired")
        elif self.beat - connection.active_beat >= self._idle_beats:
            connection.close(CloseCode.IDLE, "you were in no room and sent nothing")
        elif silent >= self._timeout_beats:
            connection.close(CloseCode.PING_TIMEOUT, "you sent nothing and answered no ping")
        elif silent == self._ping_beats:
            connection.socket.write(PING_FRAME)

    def more_unread(self, size: int) -> None:
        """Count bytes written to a slow consumer. After many of them, check the limit before the next beat."""
        if self._more_unread_bytes < self._unread_max_bytes // _UNREAD_CHECKS <= self._more_unread_bytes + size:
            asyncio.get_running_loop().call_soon(self._bound_unread)
        self._more_unread_bytes += size

    def _bound_unread(self) -> None:
        """Bound the unread bytes of all clients together, by closing those with the most."""
        self._more_unread_bytes = 0
        lagging: list[SlowReader] = [connection for connection in self._connections if connection.lagging]
        lagging += self._editors()
        unread = sorted(((connection.socket.buffered_bytes, connection) for connection in lagging), key=itemgetter(0))
        total = sum(size for size, _ in unread)
        while total > self._unread_max_bytes:
            size, connection = unread.pop()
            connection.close_slow("all clients together left too many bytes unread")
            connection.abort()
            total -= size
