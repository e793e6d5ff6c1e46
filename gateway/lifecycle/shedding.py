"""Load shedding: gateways send each other their number of connections, and one far above the mean sheds a few."""

import asyncio
import random

from pydantic import ValidationError

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
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
_ANNOUNCE_EVERY_STEPS = 2
_KEPT_SECONDS = 7.0
_COUNTED_SECONDS = 5.0
"""From a client's reconnect to the announcement that counts it, with a margin."""


class Shedding:
    def __init__(
        self,
        bus: Bus,
        gateway: GatewayId,
        settings: LifecycleSettings,
        connections: Registry[Connection],
        drain: Drain,
        metrics: GatewayMetrics,
    ) -> None:
        """Call `start` and `run` only if `shed_per_second` is above 0. Otherwise the gateway neither announces its load
        nor sheds connections."""
        self._bus = bus
        self._gateway = gateway
        self._connections = connections
        self._drain = drain
        self._metrics = metrics
        self._per_second = settings.shed_per_second
        self._loads = Loads(_KEPT_SECONDS, settings.reconnect_spread_ms / 1000 + _COUNTED_SECONDS)

    async def start(self) -> None:
        await self._bus.subscribe(subjects.GATEWAY_LOADS, self._on_load)

    async def run(self) -> None:
        """Announce the load every two seconds and shed once a second. Never returns."""
        loop = asyncio.get_running_loop()
        step = 0
        while True:
            await asyncio.sleep(_STEP_SECONDS)
            connections = list(self._connections)
            if step % _ANNOUNCE_EVERY_STEPS == 0:
                load = Load(gateway=self._gateway, connections=len(connections), leaving=self._drain.active)
                self._bus.publish(subjects.GATEWAY_LOADS, load.encode())
            step += 1
            if not self._drain.active and self._bus.connected:
                self._shed(connections, loop.time())

    def _shed(self, connections: list[Connection], now: float) -> None:
        count = min(self._per_second, self._loads.surplus(len(connections), now))
        if not count:
            return
        candidates = [connection for connection in connections if self._loads.may_ask(connection.user)]
        shed = random.sample(candidates, min(count, len(candidates)))
        if not shed:
            return
        self._loads.record_shed([connection.user for connection in shed], now)
        log.info("shedding connections", shed=len(shed), connections=len(connections))
        for connection in shed:
            self._drain.ask_to_leave(connection)
        self._metrics.shed.inc(len(shed))

    def _on_load(self, message: Message) -> None:
        try:
            self._loads.receive(Load.decode(message.data), asyncio.get_running_loop().time())
        except ValidationError as error:
            log.error("malformed load announcement", error=str(error))
