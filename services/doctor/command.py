"""Connects to NATS, observes the system, assesses the observation and writes the report."""

import asyncio
import json

from prometheus_client import CollectorRegistry

from studyroom.services.doctor.assess import problems
from studyroom.services.doctor.collect import Observation, look
from studyroom.services.doctor.report import as_json, as_text
from studyroom.services.provisioner.streams import specifications
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings

_CONNECT_SECONDS = 5.0


async def examine(nats: NatsSettings, storage: StorageSettings, *, for_programs: bool) -> tuple[str, bool]:
    """Return the report, and whether all is well. Without a connection to NATS the report has only that problem."""
    bus = Bus(nats, BusMetrics(CollectorRegistry()), name="doctor")
    seen: Observation | None = None
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await bus.connect()
        seen = await look(bus, storage.groups)
        found = problems(seen, specifications(storage))
    except TimeoutError:
        reason = bus.why_away or "not connected to NATS"
        found = [f"could not connect to NATS within {_CONNECT_SECONDS:.0f} s: {reason}"]
    finally:
        await bus.close()
    text = json.dumps(as_json(seen, found), indent=2) if for_programs else as_text(seen, found)
    return text, not found
