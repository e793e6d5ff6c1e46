"""Gateways tell each other how many connections they have, and who has far too many asks a few to go elsewhere."""

import asyncio
import random

from pydantic import ValidationError

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.lifecycle.balance import Load, Loads
from studyroom.gateway.lifecycle.drain import Drain
from studyroom.gateway.lifecycle.settings import LifecycleSettings
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import GatewayId

log = logs.get(__name__)

_STEP_SECONDS = 1.0
_ANNOUNCED_EVERY = 2
"""Steps."""
_KEPT_SECONDS = 7.0
_COUNTED_SECONDS = 5.0
"""From a client's return to the announcement that counts it, with some to spare."""


class Shedding:
    def __init__(
        self,
        bus: Bus,
        gateway: GatewayId,
        settings: LifecycleSettings,
        drain: Drain,
        metrics: GatewayMetrics,
    ) -> None:
        """For `shed_per_second` above 0; else it is not to be started, so nothing is told and nobody is asked."""
        self._bus = bus
        self._gateway = gateway
        self._drain = drain
        self._metrics = metrics
        self._per_second = settings.shed_per_second
        self._loads = Loads(_KEPT_SECONDS, settings.reconnect_spread_ms / 1000 + _COUNTED_SECONDS)

    async def start(self) -> None:
        await self._bus.subscribe(subjects.GATEWAY_LOADS, self._on_load)

    async def run(self) -> None:
        """Never returns."""
        loop = asyncio.get_running_loop()
        step = 0
        while True:
            await asyncio.sleep(_STEP_SECONDS)
            connections = self._drain.connections()
            if step % _ANNOUNCED_EVERY == 0:
                load = Load(gateway=self._gateway, connections=len(connections), leaving=self._drain.active)
                self._bus.publish(subjects.GATEWAY_LOADS, load.encode())
            step += 1
            if not self._drain.active and self._bus.connected:
                self._ask(connections, loop.time())

    def _ask(self, connections: list[Connection], now: float) -> None:
        count = min(self._per_second, self._loads.surplus(len(connections), now))
        if not count:
            return
        self._loads.asked(count, now)
        log.info("asking connections to go to emptier gateways", asked=count, connections=len(connections))
        for connection in random.sample(connections, count):
            self._drain.ask_to_leave(connection)
        self._metrics.shed.inc(count)

    def _on_load(self, message: Message) -> None:
        try:
            self._loads.receive(Load.decode(message.data), asyncio.get_running_loop().time())
        except ValidationError as error:
            log.error("a load is not ours", error=str(error))
