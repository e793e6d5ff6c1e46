"""The provisioner, the only service that changes the configuration of streams and buckets."""

import asyncio
from typing import Any

from prometheus_client import Counter, Gauge

from studyroom.services.provisioner.reconciler import Reconciler
from studyroom.services.provisioner.streams import NotAllowed, WrongStorage
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.chassis.settings import Settings, StorageSettings
from studyroom.shared.chassis.spec import Chassis

_INTERVAL_SECONDS = 5.0
_RETRY_SECONDS = 0.25
_RETRY_MAX_SECONDS = 2.0

log = logs.get(__name__)


class Provisioner:
    def __init__(self, chassis: Chassis, settings: dict[type[Settings], Any]) -> None:
        self._bus = chassis.bus
        self._tasks = chassis.tasks
        self._reconciler = Reconciler(chassis.bus, settings[StorageSettings])
        self._again = asyncio.Event()
        self._problem: str | None = "streams are not made yet"
        self._provisioned = Gauge(
            "studyroom_provisioner_streams_ok",
            "1 if every stream and bucket is as configured, else 0.",
            registry=chassis.registry,
        )
        self._stream_bytes = Gauge(
            "studyroom_provisioner_stream_bytes",
            "Bytes in one copy of a stream.",
            ["stream"],
            registry=chassis.registry,
        )
        self._stream_max_bytes = Gauge(
            "studyroom_provisioner_stream_max_bytes",
            "Limit on the bytes in one copy of a stream. A full stream either `refuses` or `drops_oldest`.",
            ["stream", "when_full"],
            registry=chassis.registry,
        )
        self._failures = Counter(
            "studyroom_provisioner_failures",
            "Failed attempts to make the streams as configured.",
            registry=chassis.registry,
        )

    async def start(self) -> None:
        self._bus.on_reconnected(self._on_reconnected)
        wait = _RETRY_SECONDS
        while not await self._pass():
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _RETRY_MAX_SECONDS)
        self._tasks.supervise("provision", self._keep)

    def not_ready(self) -> list[str]:
        return [self._problem] if self._problem else []

    async def drain(self) -> None:
        """Do nothing, because every pass may be cancelled."""

    async def stop(self) -> None:
        """Do nothing, because the process stops tasks and bus."""

    async def _keep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_INTERVAL_SECONDS):
                    await self._again.wait()
            except TimeoutError:
                pass
            self._again.clear()
            await self._pass()

    async def _pass(self) -> bool:
        problem: str | None = None
        try:
            await self._reconciler.ensure()
        except (WrongStorage, NotAllowed) as error:
            problem = str(error)
        except BusError as error:
            problem = f"NATS: {error}"
        if problem and problem != self._problem:
            log.warning("streams are not as configured", problem=problem)
        self._problem = problem
        self._measure()
        self._provisioned.set(0 if problem else 1)
        if problem:
            self._failures.inc()
        return problem is None

    def _measure(self) -> None:
        """Set the metrics of streams. Missing streams, and limits that do not exist, have no sample."""
        self._stream_bytes.clear()
        self._stream_max_bytes.clear()
        for name, info in self._reconciler.found.items():
            if info is None:
                continue
            self._stream_bytes.labels(stream=name).set(info["state"]["bytes"])
            config = info["config"]
            if (limit := config.get("max_bytes", -1)) > 0:
                when_full = "drops_oldest" if config.get("discard", "old") == "old" else "refuses"
                self._stream_max_bytes.labels(stream=name, when_full=when_full).set(limit)

    async def _on_reconnected(self) -> None:
        self._reconciler.forget_survey()
        self._again.set()
