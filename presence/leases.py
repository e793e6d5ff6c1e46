"""Which gateways are alive, and the removal of those that are not.

A gateway renews its lease every second. One that has not for `LOST_SECONDS` is dead, if NATS would have taken its
renewals: while a gateway is overdue each replica writes to the same stream itself, four times a second, and follows its
own writes as it follows the leases. A write of ours that comes back proves that NATS takes writes, and that every
renewal before it has been read here. So NATS being away, slow, or without a leader, and a replica that was frozen or
reads late, never look like the death of a gateway.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from studyroom.presence.watch import Watch
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import TTL, is_removal
from studyroom.shared.contract.ids import GatewayId, new_gateway_id
from studyroom.shared.contract.presence import LEASE_SECONDS, LOST_SECONDS

log = logs.get(__name__)

_SWEEP_SECONDS = 0.25
_OVERSLEPT_SECONDS = 1.0
_RETRY_SECONDS = 0.2
_OVERDUE_SECONDS = 2.5
"""Without a renewal for so long a gateway is overdue. One of an older version renews every two seconds."""
_PROOF_SECONDS = 1.5
"""A write of ours that took longer to come back, or was so long after the one before, proves nothing."""
_ENDED_SECONDS = 600.0
"""A dead gateway is forgotten after this, also when another replica has seen its last member go."""


@dataclass(slots=True)
class Leases:
    """Pure: who is alive, since when the others have been silent, and whether that is their fault.

    Times are monotonic seconds.
    """

    guard_seconds: float
    _alive: set[GatewayId] = field(default_factory=set)
    _renewed: dict[GatewayId, float] = field(default_factory=dict)
    """The last renewal of each, or when it began to be missed."""
    _proven: tuple[float, float] | None = None
    """From when to when NATS is known to have taken writes without a break."""
    _ended: dict[GatewayId, float] = field(default_factory=dict)
    """Those that were dead, and when they were heard of last."""

    def __len__(self) -> int:
        return len(self._alive)

    def reset(self) -> None:
        """Nothing is known: everyone is counted anew."""
        self._alive.clear()
        self._renewed.clear()
        self._proven = None

    def renewed(self, gateway: GatewayId, now: float) -> None:
        self._alive.add(gateway)
        self._renewed[gateway] = now
        self._ended.pop(gateway, None)

    def ended(self, gateway: GatewayId, now: float) -> None:
        """The lease was given up. The silence counts from the last renewal all the same."""
        self._alive.discard(gateway)
        self._renewed.setdefault(gateway, now)

    def unproven(self) -> None:
        """NATS may not have taken renewals: the guard begins anew."""
        self._proven = None

    def proven(self, written: float, now: float) -> None:
        """A write of this replica has come back, and so has every renewal that was committed before it."""
        if now - written > _PROOF_SECONDS:
            self._proven = None
        elif self._proven is None or written - self._proven[1] > _PROOF_SECONDS:
            self._proven = written, written
        else:
            self._proven = self._proven[0], max(self._proven[1], written)

    def overdue(self, present: Collection[GatewayId], now: float) -> bool:
        """A gateway that has members present has not renewed in time; what NATS does is to be proven."""
        self._forget_others(present, now)
        return any(now - self._renewed[gateway] >= _OVERDUE_SECONDS for gateway in present)

    def dead(self, present: Collection[GatewayId], now: float) -> list[GatewayId]:
        """Of the gateways that have members present, those that are silent for too long while NATS is well."""
        self._forget_others(present, now)
        dead = [gateway for gateway in present if self.is_dead(gateway, now)]
        self._ended = {gateway: last for gateway, last in self._ended.items() if now - last < _ENDED_SECONDS}
        for gateway in dead:
            self._ended.setdefault(gateway, self._renewed[gateway])
        return dead

    def is_dead(self, gateway: GatewayId, now: float) -> bool:
        if self._proven is None:
            return False
        since, until = self._proven
        if now - until > _PROOF_SECONDS or until - since < self.guard_seconds:
            return False
        return until - self._renewed.get(gateway, until) >= LOST_SECONDS

    def renewed_at(self, gateway: GatewayId) -> float:
        """When a gateway that has members present was last known to live."""
        return self._renewed[gateway]

    def _forget_others(self, present: Collection[GatewayId], now: float) -> None:
        for gateway in present:
            self._renewed.setdefault(gateway, now)
        # NATS removes a lease that has expired without a word.
        self._alive = {gateway for gateway in self._alive if now - self._renewed[gateway] < LEASE_SECONDS}
        if len(self._renewed) > len(self._alive):
            known = self._alive.union(present)
            self._renewed = {gateway: last for gateway, last in self._renewed.items() if gateway in known}

    def revive(self, gateway: GatewayId, now: float) -> float | None:
        """Nothing of a dead gateway is left. Seconds since its last sign of life."""
        last = self._ended.pop(gateway, None)
        return now - last if last is not None else None


class LeaseKeeper:
    """Follows the leases and has dead gateways dropped. Every replica does; repeating it is harmless."""

    def __init__(
        self,
        bus: Bus,
        leases: Leases,
        *,
        present: Callable[[], list[GatewayId] | None],
        drop: Callable[[GatewayId, float, Callable[[], bool]], Awaitable[int]],
        expired: Callable[[], None],
    ) -> None:
        """`present`: gateways that have members; None when that is not known now.

        `drop(gateway, when it was heard of last, whether it is still dead)` returns how many members that touched.
        """
        self._bus = bus
        self._leases = leases
        self._present = present
        self._drop = drop
        self._expired = expired
        self._dropping: set[GatewayId] = set()
        self._proof = subjects.lease_proof_key(new_gateway_id())
        self._watch = Watch(bus, subjects.GATEWAYS_STREAM, [subjects.LEASE_KEYS, self._proof])

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
        async with asyncio.TaskGroup() as drops:
            while not self._watch.broken.is_set():
                before = loop.time()
                await asyncio.sleep(_SWEEP_SECONDS)
                if not self._bus.connected:
                    return
                self._watch.check_silence()
                if loop.time() - before > _OVERSLEPT_SECONDS:
                    # We were frozen: what came meanwhile has not been read yet.
                    self._leases.unproven()
                for gateway in self._sweep(loop.time()):
                    drops.create_task(self._drop_dead(gateway))

    def _sweep(self, now: float) -> list[GatewayId]:
        """Have NATS prove that it is well, if that matters now; the gateways that are to be dropped."""
        present = self._present()
        if present is None:
            return []
        if self._leases.overdue(present, now):
            self._bus.publish(self._proof, repr(now).encode(), headers={TTL: str(LEASE_SECONDS)})
        return [gateway for gateway in self._leases.dead(present, now) if gateway not in self._dropping]

    async def _drop_dead(self, gateway: GatewayId) -> None:
        self._dropping.add(gateway)
        try:
            members = await self._drop(gateway, self._leases.renewed_at(gateway), partial(self._still_dead, gateway))
        except (BusError, TimeoutError) as error:
            # NATS does not take our writes, so it has not taken the gateway's renewals either.
            self._leases.unproven()
            log.warning("a dead gateway could not be dropped yet", gateway=gateway, error=str(error))
        else:
            if members:
                self._expired()
                log.warning("a gateway is dead, its members are dropped", gateway=gateway, members=members)
        finally:
            self._dropping.discard(gateway)

    def _still_dead(self, gateway: GatewayId) -> bool:
        now = asyncio.get_running_loop().time()
        return self._leases.is_dead(gateway, now) and not self._watch.broken.is_set() and self._bus.connected

    def _apply(self, message: Message, _sequence: int, _pending: int) -> None:
        now = asyncio.get_running_loop().time()
        if message.subject == self._proof:
            if not is_removal(message.headers or {}):
                self._leases.proven(float(message.data), now)
            return
        gateway = subjects.parse_gateway_key(message.subject)
        if is_removal(message.headers or {}):
            self._leases.ended(gateway, now)
        else:
            self._leases.renewed(gateway, now)
