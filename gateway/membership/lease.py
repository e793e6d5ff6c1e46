"""The gateway's lease: a key with a TTL. While the gateway renews it, presence keeps the gateway's connections."""

import asyncio
import time
from collections.abc import Callable

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import TTL, removal
from studyroom.shared.contract.ids import GatewayId
from studyroom.shared.contract.presence import LEASE_SECONDS, RENEWAL_SECONDS

log = logs.get(__name__)

_RETRY_SECONDS = 0.25
_STORE_TIMEOUT_SECONDS = 1.5


class Lease:
    def __init__(self, bus: Bus, gateway: GatewayId) -> None:
        self._bus = bus
        self._key = subjects.gateway_key(gateway)
        self._lapsed: list[Callable[[], None]] = []
        self._renewed_at: float | None = None
        """When the last successful renewal was sent (monotonic seconds)."""
        self._given_up = False

    def on_lapsed(self, callback: Callable[[], None]) -> None:
        """Call `callback` after a renewal that came too late. Presence may have removed this gateway's connections."""
        self._lapsed.append(callback)

    async def keep(self) -> None:
        """Renew the lease regularly. Never returns."""
        while True:
            renewed = await self.renew()
            await asyncio.sleep(RENEWAL_SECONDS if renewed else _RETRY_SECONDS)

    async def renew(self) -> bool:
        """Renew the lease once. False if NATS did not store it."""
        if self._given_up:
            return False
        now = time.monotonic()
        try:
            await self._bus.store(self._key, b"{}", {TTL: str(LEASE_SECONDS)}, timeout_seconds=_STORE_TIMEOUT_SECONDS)
        except BusError as error:
            log.warning("failed to renew the lease", error=str(error))
            return False
        last, self._renewed_at = self._renewed_at, now
        if last is not None and now - last > LEASE_SECONDS:
            for callback in self._lapsed:
                callback()
        return True

    @property
    def overdue(self) -> bool:
        """The lease has not been renewed for longer than its TTL: NATS takes no writes, or none of this gateway."""
        return self._renewed_at is not None and time.monotonic() - self._renewed_at > LEASE_SECONDS

    async def give_up(self) -> None:
        """Remove the lease, because the gateway has no connections any more. If that fails, the lease expires."""
        self._given_up = True
        try:
            await self._bus.store(self._key, b"", removal(LEASE_SECONDS), timeout_seconds=_STORE_TIMEOUT_SECONDS)
        except BusError as error:
            log.info("failed to remove the lease", error=str(error))
