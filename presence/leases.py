"""Follows the leases of gateways, and drops the connections of gateways that are dead.

A gateway renews its lease every second. A gateway that has not renewed for `LOST_SECONDS` is dead, if NATS would have
accepted its renewals. To prove that, each replica writes to the same stream four times a second while a gateway is
overdue, and watches its own writes together with the leases. A proof that comes back shows that NATS accepts writes,
and that this replica has read every renewal before it. So an outage of NATS, an election, or a replica that was frozen
never looks like the death of a gateway.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from studyroom.presence.watch import Watch
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Message
from studyroom.shared.chassis.ticks import next_tick
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import TTL, is_removal
from studyroom.shared.contract.ids import GatewayId, new_gateway_id
from studyroom.shared.contract.presence import LEASE_SECONDS, LOST_SECONDS

log = logs.get(__name__)

_SWEEP_SECONDS = 0.25
_OVERSLEPT_SECONDS = 1.0
_RETRY_SECONDS = 0.2
_OVERDUE_SECONDS = 2.5
"""A gateway without a renewal for so long is overdue. Gateways of older versions renew every two seconds."""
_PROOF_SECONDS = 1.5
"""The longest time for a proof to come back, and between two proofs. After a longer time the guard starts again."""
_ENDED_SECONDS = 600.0
"""This replica forgets a dead gateway after this time if another replica has dropped its last member."""


@dataclass(slots=True)
class Leases:
    """The gateways that are alive, the silence of the others, and the proof that NATS did not cause it.

    Pure; times are monotonic seconds.
    """

    guard_seconds: float
    _alive: set[GatewayId] = field(default_factory=set)
    _renewed: dict[GatewayId, float] = field(default_factory=dict)
    """The last renewal of each gateway, or when this replica first expected one."""
    _proof: tuple[float, float] | None = None
    """Begin and end of the time in which NATS has accepted writes without a break."""
    _ended: dict[GatewayId, float] = field(default_factory=dict)
    """The last renewal of each dead gateway."""

    def __len__(self) -> int:
        return len(self._alive)

    def reset(self) -> None:
        """Forget all renewals, so the silence of every gateway counts from now."""
        self._alive.clear()
        self._renewed.clear()
        self._proof = None

    def renewed(self, gateway: GatewayId, now: float) -> None:
        self._alive.add(gateway)
        self._renewed[gateway] = now
        self._ended.pop(gateway, None)

    def ended(self, gateway: GatewayId, now: float) -> None:
        """Record that a gateway has given up its lease. Its silence still counts from the last renewal."""
        self._alive.discard(gateway)
        self._renewed.setdefault(gateway, now)

    def discard_proof(self) -> None:
        """Start the guard again, because NATS may have refused renewals."""
        self._proof = None

    def add_proof(self, written: float, now: float) -> None:
        """Record that a proof written at `written` has come back, after every renewal that was committed before it."""
        if now - written > _PROOF_SECONDS:
            self._proof = None
        elif self._proof is None or written - self._proof[1] > _PROOF_SECONDS:
            self._proof = written, written
        else:
            self._proof = self._proof[0], max(self._proof[1], written)

    def overdue(self, present: Collection[GatewayId], now: float) -> bool:
        """Return whether a gateway with members has not renewed in time, so the replica must write proofs."""
        self._forget_others(present, now)
        return any(now - self._renewed[gateway] >= _OVERDUE_SECONDS for gateway in present)

    def dead(self, present: Collection[GatewayId], now: float) -> list[GatewayId]:
        """Return the dead ones of `present`: they are silent for too long, and NATS is proven to accept writes.

        `present`: the gateways that have members.
        """
        self._forget_others(present, now)
        dead = [gateway for gateway in present if self.is_dead(gateway, now)]
        self._ended = {gateway: last for gateway, last in self._ended.items() if now - last < _ENDED_SECONDS}
        for gateway in dead:
            self._ended.setdefault(gateway, self._renewed[gateway])
        return dead

    def is_dead(self, gateway: GatewayId, now: float) -> bool:
        if self._proof is None:
            return False
        since, until = self._proof
        if now - until > _PROOF_SECONDS or until - since < self.guard_seconds:
            return False
        return until - self._renewed.get(gateway, until) >= LOST_SECONDS

    def renewed_at(self, gateway: GatewayId) -> float:
        """Return when a gateway with members last renewed its lease."""
        return self._renewed[gateway]

    def _forget_others(self, present: Collection[GatewayId], now: float) -> None:
        for gateway in present:
            self._renewed.setdefault(gateway, now)
        # NATS sends no message when it removes an expired lease.
        self._alive = {gateway for gateway in self._alive if now - self._renewed[gateway] < LEASE_SECONDS}
        if len(self._renewed) > len(self._alive):
            known = self._alive.union(present)
            self._renewed = {gateway: last for gateway, last in self._renewed.items() if gateway in known}

    def forget_dead(self, gateway: GatewayId, now: float) -> float | None:
        """Forget a dead gateway whose last member has left. Return the seconds since its last renewal.

        Return None if the gateway was not dead.
        """
        last = self._ended.pop(gateway, None)
        return now - last if last is not None else None


class LeaseKeeper:
    """Follows the leases and drops dead gateways. Every replica does so, because dropping twice is harmless."""

    def __init__(
        self,
        bus: Bus,
        leases: Leases,
        *,
        present: Callable[[], list[GatewayId] | None],
        drop: Callable[[GatewayId, float, Callable[[], bool]], Awaitable[int]],
        expired: Callable[[], None],
    ) -> None:
        """Create it with what it needs from the replica.

        `present`: returns the gateways that have members, None while the mirror is not ready.
        `drop(gateway, time of its last renewal, whether it is still dead)`: returns the number of changed members.
        `expired`: called after a gateway with members was dropped.
        """
        self._bus = bus
        self._leases = leases
        self._present = present
        self._drop = drop
        self._expired = expired
        self._dropping: set[GatewayId] = set()
        self._proof_key = subjects.lease_proof_key(new_gateway_id())
        self._watch = Watch(bus, subjects.GATEWAYS_STREAM, [subjects.LEASE_KEYS, self._proof_key])

    async def keep(self) -> None:
        """Follow the leases until cancelled."""
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
                await next_tick(_SWEEP_SECONDS)
                if not self._bus.connected:
                    return
                self._watch.check_silence()
                if loop.time() - before > _OVERSLEPT_SECONDS:
                    # This process was frozen, and has not read yet what arrived meanwhile.
                    self._leases.discard_proof()
                for gateway in self._sweep(loop.time()):
                    drops.create_task(self._drop_dead(gateway))

    def _sweep(self, now: float) -> list[GatewayId]:
        """Write a proof if a gateway is overdue. Return the dead gateways to drop."""
        present = self._present()
        if present is None:
            return []
        if self._leases.overdue(present, now):
            self._bus.publish(self._proof_key, repr(now).encode(), headers={TTL: str(LEASE_SECONDS)})
        return [gateway for gateway in self._leases.dead(present, now) if gateway not in self._dropping]

    async def _drop_dead(self, gateway: GatewayId) -> None:
        self._dropping.add(gateway)
        try:
            members = await self._drop(gateway, self._leases.renewed_at(gateway), partial(self._still_dead, gateway))
        except (BusError, TimeoutError) as error:
            # NATS refuses writes, so it may have refused the gateway's renewals too.
            self._leases.discard_proof()
            log.warning("could not drop a dead gateway yet", gateway=gateway, error=str(error))
        else:
            if members:
                self._expired()
                log.warning("dropped the members of a dead gateway", gateway=gateway, members=members)
        finally:
            self._dropping.discard(gateway)

    def _still_dead(self, gateway: GatewayId) -> bool:
        now = asyncio.get_running_loop().time()
        return self._leases.is_dead(gateway, now) and not self._watch.broken.is_set() and self._bus.connected

    def _apply(self, message: Message, _sequence: int, _pending: int) -> None:
        now = asyncio.get_running_loop().time()
        if message.subject == self._proof_key:
            if not is_removal(message.headers or {}):
                self._leases.add_proof(float(message.data), now)
            return
        gateway = subjects.parse_gateway_key(message.subject)
        if is_removal(message.headers or {}):
            self._leases.ended(gateway, now)
        else:
            self._leases.renewed(gateway, now)
