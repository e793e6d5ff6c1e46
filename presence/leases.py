"""Which gateways are alive, and the removal of those that are not.

A gateway's lease is a key with a TTL that it renews. A lease that is missing is acted upon only when it stays missing
for the guard time, counted anew whenever this replica has had to read the leases again: NATS being away, or coming
back, must never look like the death of all gateways.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from presence.watch import Watch
from services import logs
from services.bus import Bus, BusError, Message
from shared import subjects
from shared.headers import is_removal
from shared.ids import GatewayId
from shared.presence import LEASE_SECONDS

log = logs.get(__name__)

_SWEEP_SECONDS = 0.25
_OVERSLEPT_SECONDS = 1.0
_RETRY_SECONDS = 0.2
_BURIED_SECONDS = 600.0
"""A dead gateway is forgotten after this, also when another replica has seen its last member go."""


@dataclass(slots=True)
class Leases:
    """Pure: who is alive, and since when those who are not have been missed. Times are monotonic seconds."""

    guard_seconds: float
    _alive: set[GatewayId] = field(default_factory=set)
    _missed_since: dict[GatewayId, float] = field(default_factory=dict)
    _buried: dict[GatewayId, float] = field(default_factory=dict)
    """Those that were dead, and when their lease had ended."""

    def __len__(self) -> int:
        return len(self._alive)

    def reset(self) -> None:
        """Nothing is known, and nobody is missed."""
        self._alive.clear()
        self._missed_since.clear()

    def renewed(self, gateway: GatewayId) -> None:
        self._alive.add(gateway)
        self._missed_since.pop(gateway, None)
        self._buried.pop(gateway, None)

    def ended(self, gateway: GatewayId, now: float) -> None:
        self._alive.discard(gateway)
        self._missed_since.setdefault(gateway, now)

    def is_alive(self, gateway: GatewayId) -> bool:
        return gateway in self._alive

    def miss_nobody(self) -> None:
        """Time has passed that must not count: the guard begins anew for everyone who is missed."""
        self._missed_since.clear()

    def dead(self, present: Iterable[GatewayId], now: float) -> list[GatewayId]:
        """Of the gateways that have members present, those that have been missed for longer than the guard."""
        missed = [gateway for gateway in present if gateway not in self._alive]
        self._missed_since = {gateway: self._missed_since.get(gateway, now) for gateway in missed}
        dead = [gateway for gateway in missed if now - self._missed_since[gateway] >= self.guard_seconds]
        self._buried = {gateway: end for gateway, end in self._buried.items() if now - end < _BURIED_SECONDS}
        for gateway in dead:
            self._buried.setdefault(gateway, self._missed_since[gateway])
        return dead

    def bury(self, gateway: GatewayId, now: float) -> float | None:
        """Nothing of a dead gateway is left. Seconds since it was last known to live, at the most."""
        ended = self._buried.pop(gateway, None)
        return now - ended + LEASE_SECONDS if ended is not None else None


class LeaseKeeper:
    """Follows the leases and has dead gateways dropped. Every replica does; repeating it is harmless."""

    def __init__(
        self,
        bus: Bus,
        leases: Leases,
        *,
        present: Callable[[], list[GatewayId]],
        drop: Callable[[GatewayId, Callable[[], bool]], Awaitable[int]],
        expired: Callable[[], None],
    ) -> None:
        self._bus = bus
        self._leases = leases
        self._present = present
        self._drop = drop
        self._expired = expired
        self._watch = Watch(bus, subjects.GATEWAYS_STREAM, [subjects.GATEWAY_KEYS])

    async def keep(self) -> None:
        """Never returns."""
        while True:
            self._leases.reset()
            try:
                await self._watch.start(self._apply)
            except BusError as error:
                log.info("leases not read, trying again", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await self._sweep_until_broken()

    async def _sweep_until_broken(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._watch.broken.is_set():
            before = loop.time()
            await asyncio.sleep(_SWEEP_SECONDS)
            if not self._bus.connected:
                return
            self._watch.check_silence()
            if loop.time() - before > _OVERSLEPT_SECONDS:
                # We were frozen: what came meanwhile has not been read yet.
                self._leases.miss_nobody()
                continue
            dead = self._leases.dead(self._present(), loop.time())
            await asyncio.gather(*(self._drop_dead(gateway) for gateway in dead))

    async def _drop_dead(self, gateway: GatewayId) -> None:
        try:
            members = await self._drop(gateway, partial(self._still_dead, gateway))
        except (BusError, TimeoutError) as error:
            # NATS does not take our writes, so it has not taken the gateway's renewals either.
            self._leases.miss_nobody()
            log.warning("a dead gateway could not be dropped yet", gateway=gateway, error=str(error))
            return
        if members:
            self._expired()
            log.warning("a gateway is dead, its members are dropped", gateway=gateway, members=members)

    def _still_dead(self, gateway: GatewayId) -> bool:
        return not (self._leases.is_alive(gateway) or self._watch.broken.is_set()) and self._bus.connected

    def _apply(self, message: Message, _sequence: int, _pending: int) -> None:
        gateway = subjects.parse_gateway_key(message.subject)
        if is_removal(message.headers or {}):
            self._leases.ended(gateway, asyncio.get_running_loop().time())
        else:
            self._leases.renewed(gateway)
