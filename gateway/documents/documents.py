"""Assembles the shared documents of a gateway, and ends their connections."""

import asyncio
import random
import time

from studyroom.gateway.auth.bans import Bans
from studyroom.gateway.connections.registry import ConnectionCounts, Registry
from studyroom.gateway.documents.connection import DocumentConnection, DocumentHub, DocumentLimits
from studyroom.gateway.documents.hosting import DocumentHosting
from studyroom.gateway.documents.metrics import DocumentMetrics
from studyroom.gateway.documents.store import DocumentStore
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.spec import Chassis
from studyroom.shared.chassis.ticks import next_tick
from studyroom.shared.contract.close_codes import CloseCode, reconnect_hint
from studyroom.shared.contract.ids import GatewayId
from studyroom.shared.contract.moderation import Kind, Target

log = logs.get(__name__)

_BEAT_SECONDS = 1.0
_POLL_SECONDS = 0.05


class Documents:
    def __init__(
        self,
        gateway: GatewayId,
        chassis: Chassis,
        scheduler: FlushScheduler,
        bans: Bans,
        counts: ConnectionCounts,
        limits: DocumentLimits,
        *,
        deadline_seconds: float,
        leeway_seconds: float,
    ) -> None:
        """`counts`: of all connections of the gateway. `deadline_seconds`: see `DocumentStore`. `leeway_seconds`: how
        long a token is still good after its expiry."""
        bus, tasks = chassis.bus, chassis.tasks
        self._tasks = tasks
        self._leeway_seconds = leeway_seconds
        self._close_seconds = limits.close_seconds
        metrics = DocumentMetrics(chassis.registry)
        self._store = DocumentStore(bus, tasks, metrics, deadline_seconds=deadline_seconds, tracer=chassis.tracer)
        self._hosting = DocumentHosting(gateway, bus, self._store, scheduler, tasks, metrics)
        self._connections = Registry[DocumentConnection](counts)
        self.hub = DocumentHub(self._hosting, limits, bans, tasks, metrics, self._connections)
        metrics.watch(lambda: len(self._connections), lambda: len(self._hosting))
        bus.on_reconnected(self._reconnected)

    async def start(self) -> None:
        await self._store.start()
        self._hosting.start()
        self._tasks.supervise("document connections", self._beat)

    async def _reconnected(self) -> None:
        self._hosting.reconnected()

    async def _beat(self) -> None:
        """Never returns."""
        while True:
            await next_tick(_BEAT_SECONDS)
            now, expired_by = time.monotonic(), time.time() - self._leeway_seconds
            for connection in list(self._connections):
                try:
                    connection.beat(now, expired_by)
                except Exception:
                    # The other connections must still be checked.
                    log.exception("the check of a connection failed")
                    connection.close(CloseCode.INTERNAL_ERROR, "internal error")

    def slow(self) -> list[DocumentConnection]:
        """The connections that read too slowly."""
        return [connection for connection in self._connections if connection.is_slow]

    def carry_out(self, target: Target) -> None:
        """Carry out the command of a moderator."""
        banned = target.kind is Kind.BAN
        code = CloseCode.BANNED if banned else CloseCode.DISCONNECTED
        for connection in list(self._connections):
            if connection.user == target.user and target.room in {None, connection.room}:
                connection.close(code, "banned" if banned else "disconnected by a moderator")

    async def close_all(self, *, spread_ms: int) -> None:
        """Ask all clients to connect again, each after a random time up to `spread_ms`, when their edits are stored."""
        for connection in list(self._connections):
            wait_ms = random.randint(0, spread_ms)  # noqa: S311 - jitter
            connection.close(CloseCode.SERVICE_RESTART, reconnect_hint(wait_ms))
        deadline = time.monotonic() + self._close_seconds
        while len(self._connections) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        for connection in list(self._connections):
            connection.abort()
        await self._store.settled()
