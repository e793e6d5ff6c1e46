"""The probe as an exporter: a pass every so many seconds, and its metrics on an admin port."""

import asyncio
import signal
import socket

from prometheus_client import CollectorRegistry

from studyroom.services.probe.metrics import ProbeMetrics
from studyroom.services.probe.probe import Probe
from studyroom.shared.chassis import admin, descriptors, logs
from studyroom.shared.chassis.http import HttpServer

log = logs.get(__name__)


async def export(probe: Probe, listener: socket.socket, every_seconds: float) -> None:
    """Make passes until SIGTERM or SIGINT. A pass that is under way then leaves its room first."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    registry = CollectorRegistry()
    metrics = ProbeMetrics(registry)
    server = HttpServer(admin.build_app(registry, list), listener, below=descriptors.below_admin(descriptors.limit()))
    await server.start()
    log.info("ready", admin_port=server.port)
    passes = asyncio.create_task(_repeat(probe, metrics, every_seconds), name="passes")
    stopping = asyncio.create_task(stop.wait(), name="stop signal")
    try:
        await asyncio.wait({passes, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if passes.done():
            passes.result()  # raises the mistake that has ended it
    finally:
        for task in (passes, stopping):
            task.cancel()
        await asyncio.gather(passes, stopping, return_exceptions=True)
        await server.stop(1.0)
    log.info("stopped")


async def _repeat(probe: Probe, metrics: ProbeMetrics, every_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        done = await probe.once()
        metrics.count(done)
        if done.failed is not None:
            log.warning("a pass failed", step=done.failed.value, reason=done.reason, room=done.room)
        if (expires := await probe.certificate_expires()) is not None:
            metrics.certificate_expires(expires)
        # A pass that took longer than the interval delays the next ones, and they do not catch up.
        due = max(due + every_seconds, loop.time())
        await asyncio.sleep(due - loop.time())
