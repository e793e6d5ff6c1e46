"""The life of a process: start, ready, drain, stop.

SIGTERM and SIGINT begin the drain, which has a deadline. The service, its tasks and the bus then stop within seconds. A
second signal ends the process at once. After a signal the exit status is 0, even if the drain did not finish in time.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from studyroom.shared.chassis import admin, descriptors, logs
from studyroom.shared.chassis.diagnostics.routes import diagnostic_routes
from studyroom.shared.chassis.http import HttpServer
from studyroom.shared.chassis.listening import AddressUnavailable, listen
from studyroom.shared.chassis.metrics import BusMetrics, ProcessMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.nats.provisioned import WrongGroups
from studyroom.shared.chassis.settings import (
    EXIT_BAD_SETTINGS,
    BadSettings,
    NatsSettings,
    ProcessSettings,
    Settings,
    load_or_exit,
)
from studyroom.shared.chassis.siblings import Siblings
from studyroom.shared.chassis.spec import Chassis, ServiceSpec
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.chassis.tracing.exporting import start_tracer, stop_tracer
from studyroom.shared.chassis.tracing.settings import TracesSettings

EXIT_FAILED = 1
_STOP_SECONDS = 3.0
"""The time that the service, its tasks and the bus each have to stop after the drain."""

log = logs.get(__name__)


class Phase(Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True)
class Worker:
    """The parts that a worker gets from its supervisor (shared/chassis/workers.py)."""

    listener: socket.socket
    siblings: Siblings
    lifeline: int
    """The reading end of a pipe to which nobody writes. When the pipe closes, the process stops as after a signal."""


def load_settings(spec: ServiceSpec) -> dict[type[Settings], Any]:
    """Load the settings of a service and set up logs accordingly. Bad settings end the process."""
    classes: list[type[Settings]] = [ProcessSettings, NatsSettings, TracesSettings, *spec.settings]
    settings: dict[type[Settings], Any] = dict(load_or_exit(classes))
    if spec.check is not None:
        try:
            spec.check(settings)
        except BadSettings as error:
            log_reason(spec, error)
            sys.exit(EXIT_BAD_SETTINGS)
    logs.configure(settings[ProcessSettings], spec.name)
    return settings


def run(spec: ServiceSpec) -> int:
    """Run one service until a signal stops it. Return the exit status."""
    return run_process(spec, load_settings(spec))


def run_process(spec: ServiceSpec, settings: dict[type[Settings], Any], worker: Worker | None = None) -> int:
    """Run one service with these settings until a signal stops it, as a worker if `worker` is given."""
    descriptors.raise_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_Process(spec, settings, worker).live())
        except AddressUnavailable as error:
            return log_reason(spec, error)
        except WrongGroups as error:
            log_reason(spec, error)
            return EXIT_BAD_SETTINGS


def log_reason(spec: ServiceSpec, error: AddressUnavailable | BadSettings | WrongGroups) -> int:
    """Print one line and return the exit status."""
    print(f"studyroom {spec.name}: {error}", file=sys.stderr)  # noqa: T201 - logs are for a running service
    return EXIT_FAILED


class _Process:
    def __init__(self, spec: ServiceSpec, settings: dict[type[Settings], Any], worker: Worker | None) -> None:
        self._settings: ProcessSettings = settings[ProcessSettings]
        self._worker = worker
        self._phase = Phase.STARTING
        registry = CollectorRegistry()
        self._metrics = ProcessMetrics(registry, spec.name)
        self._tasks = Tasks(self._metrics)
        bus_metrics = BusMetrics(registry)
        self._bus = Bus(settings[NatsSettings], bus_metrics, name=spec.name, no_echo=spec.bus_without_echo)
        bus_metrics.watch(self._bus)
        self._tracer = start_tracer(settings[TracesSettings], spec.name)
        chassis = Chassis(spec.name, self._settings, self._bus, self._tasks, registry, tracer=self._tracer)
        if worker is not None:
            chassis.public_listener, chassis.siblings = worker.listener, worker.siblings
        self._service = spec.load()(chassis, settings)
        self._metrics.watch_readiness(lambda: not self._not_ready())
        self._registry = registry

    async def live(self) -> int:
        asyncio.get_running_loop().set_exception_handler(self._metrics.count_exception)
        stop = self._catch_signals()
        listener = listen(self._settings.admin_host, self._settings.admin_port)
        most = descriptors.limit()
        app = admin.build_app(self._registry, self._not_ready, diagnostic_routes(self._settings.admin_token))
        admin_server = HttpServer(app, listener, below=descriptors.below_admin(most))
        await admin_server.start()
        log.info("started", admin_port=admin_server.port, descriptors=most)
        try:
            return await self._serve(stop)
        finally:
            await admin_server.stop(1.0)

    async def _serve(self, stop: asyncio.Event) -> int:
        self._tasks.supervise("event loop lag", self._metrics.sample_event_loop_lag)
        try:
            if await self._start(stop):
                self._phase = Phase.READY
                gc.collect()
                gc.freeze()
                log.info("ready")
                await _first_of(stop, self._bus.closed_for_good)
        finally:
            await self._wind_down()
        return EXIT_FAILED if self._bus.closed_for_good.is_set() else 0

    async def _start(self, stop: asyncio.Event) -> bool:
        """Start the service. Return False if a signal came first. Raises the errors of the service's `start`."""

        async def begin() -> None:
            await self._bus.connect()
            await self._service.start()

        starting = asyncio.create_task(begin(), name="start")
        stopping = asyncio.create_task(_first_of(stop, self._bus.closed_for_good), name="stop signal")
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
            return starting.done()
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)

    async def _wind_down(self) -> None:
        was_ready = self._phase is Phase.READY
        self._phase = Phase.DRAINING
        try:
            async with asyncio.timeout(self._settings.stop_deadline_seconds):
                if was_ready:
                    log.info("draining")
                    await self._service.drain()
        except TimeoutError:
            log.warning("the drain did not finish in time, aborting the rest")
        except Exception:
            log.exception("the drain failed, aborting the rest")
        for part, stop in (
            ("service", self._service.stop),
            ("tasks", self._tasks.stop),
            ("bus", self._bus.close),
            ("traces", self._send_last_spans),
        ):
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await stop()
            except Exception:
                log.exception("a part did not stop cleanly", part=part)
        log.info("stopped")

    async def _send_last_spans(self) -> None:
        await stop_tracer(self._tracer)

    def _not_ready(self) -> list[str]:
        reasons = [] if self._phase is Phase.READY else [self._phase.value]
        return reasons + self._bus.problems + self._service.not_ready()

    def _catch_signals(self) -> asyncio.Event:
        stop, signalled = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal(number: signal.Signals) -> None:
            if signalled.is_set():
                os._exit(128 + number)  # A second signal means: at once.
            log.info("stopping", signal=number.name)
            signalled.set()
            stop.set()

        def on_lifeline(lifeline: int) -> None:
            loop.remove_reader(lifeline)
            log.info("stopping with the supervisor")
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        if self._worker is not None:
            loop.add_reader(self._worker.lifeline, on_lifeline, self._worker.lifeline)
        return stop


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
