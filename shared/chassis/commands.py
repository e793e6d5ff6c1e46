"""The way of a command to NATS, and the end of a command that could not do its work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings


class Failed(Exception):
    """A command could not do its work. The argument is the reason, for people."""


@asynccontextmanager
async def connected(nats: NatsSettings, name: str, *, within_seconds: float = 10.0) -> AsyncIterator[Bus]:
    """Connect for the time of a command. `name`: of the connection. Raises Failed if NATS does not answer in time."""
    bus = Bus(nats, BusMetrics(CollectorRegistry()), name=name)
    try:
        try:
            async with asyncio.timeout(within_seconds):
                await bus.connect()
        except TimeoutError as error:
            reason = bus.why_away or "no answer"
            raise Failed(f"could not connect to NATS within {within_seconds:.0f} s: {reason}") from error
        yield bus
    finally:
        await bus.close()
