"""The hooks service: a worker for each group of shards, of which one replica works on each."""

import asyncio
from typing import Any

from studyroom.services.hooks.delivery import Delivery
from studyroom.services.hooks.metrics import HooksMetrics, HooksState
from studyroom.services.hooks.sending import Sender
from studyroom.services.hooks.settings import HooksSettings
from studyroom.services.hooks.worker import Worker
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.chassis.nats.provisioned import check_groups
from studyroom.shared.chassis.settings import Settings, StorageSettings
from studyroom.shared.chassis.spec import Chassis
from studyroom.shared.contract import hook_subjects
from studyroom.shared.contract.groups import all_groups

log = logs.get(__name__)


class Hooks:
    def __init__(self, chassis: Chassis, settings: dict[type[Settings], Any]) -> None:
        own: HooksSettings = settings[HooksSettings]
        storage: StorageSettings = settings[StorageSettings]
        self._bus = chassis.bus
        self._tasks = chassis.tasks
        self._groups = storage.groups
        self._metrics = HooksMetrics(chassis.registry)
        self._sender = Sender(own)
        self._workers = [
            Worker(chassis.bus, group, self._sender, own, self._metrics) for group in all_groups(storage.groups)
        ]
        self._metrics.watch(
            HooksState(
                groups=lambda: sum(worker.is_working for worker in self._workers),
                waiting_rooms=lambda: sum(delivery.waiting_rooms for delivery in self._deliveries()),
                oldest_seconds=lambda: max((delivery.oldest_seconds for delivery in self._deliveries()), default=0.0),
            )
        )
        self._bus.on_reconnected(self._on_reconnected)

    async def start(self) -> None:
        """Return when the streams of hooks are there. Whether this replica works on a group depends on the others."""
        await check_groups(self._bus, hook_subjects.HOOKS_BUCKET_STREAM, self._groups)
        for worker in self._workers:
            self._tasks.supervise("hooks of a group", worker.run)

    def not_ready(self) -> list[str]:
        """A replica that waits for a lease is ready too."""
        return []

    async def drain(self) -> None:
        """Finish requests that are under way, and let other replicas go on."""
        outcomes = await asyncio.gather(*(worker.drain() for worker in self._workers), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BusError):
                log.warning("could not save everything that is delivered", error=str(outcome))
            elif isinstance(outcome, BaseException):
                raise outcome

    async def stop(self) -> None:
        await self._sender.close()

    def _deliveries(self) -> list[Delivery]:
        return [worker.delivery for worker in self._workers if worker.delivery is not None]

    async def _on_reconnected(self) -> None:
        for worker in self._workers:
            worker.look_soon()
