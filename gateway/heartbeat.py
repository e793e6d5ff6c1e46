"""One sweep for everything that has to happen after a while, for all connections at once."""

import asyncio
import time
from collections.abc import Callable, Iterable

from gateway.connection import Connection
from gateway.framing import PING_FRAME
from gateway.metrics import GatewayMetrics
from gateway.settings import GatewaySettings
from gateway.upgrade import AwaitingHead
from shared.close_codes import CloseCode

SWEEP_SECONDS = 1.0


class Heartbeat:
    """Pings the silent, closes the dead, ends sockets that do not finish closing or never finish their request."""

    def __init__(
        self,
        settings: GatewaySettings,
        connections: Callable[[], Iterable[Connection]],
        awaiting_head: AwaitingHead,
        metrics: GatewayMetrics,
    ) -> None:
        self._ping_beats = max(1, round(settings.ping_interval_seconds / SWEEP_SECONDS))
        self._timeout_beats = max(2, round(settings.ping_timeout_seconds / SWEEP_SECONDS))
        self._close_timeout_seconds = settings.close_timeout_seconds
        self._connections = connections
        self._awaiting_head = awaiting_head
        self._metrics = metrics
        self.beat = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.beat += 1
            self._metrics.late_heads.inc(self._awaiting_head.abort_late())
            now = time.monotonic()
            for connection in list(self._connections()):
                self._check(connection, now)

    def _check(self, connection: Connection, now: float) -> None:
        closing_since = connection.closing_since
        silent = self.beat - connection.heard_beat
        if closing_since is not None:
            if now - closing_since > self._close_timeout_seconds:
                connection.abort()
        elif silent >= self._timeout_beats:
            connection.close(CloseCode.PING_TIMEOUT, "nothing was heard")
        elif silent >= self._ping_beats and not connection.pinged:
            connection.ping(PING_FRAME)
