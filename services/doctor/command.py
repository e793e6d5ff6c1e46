"""Connects to NATS, observes the system, assesses the observation and writes the report."""

import json

from studyroom.services.doctor.assess import problems
from studyroom.services.doctor.collect import Observation, look
from studyroom.services.doctor.report import as_json, as_text
from studyroom.services.provisioner.streams import specifications
from studyroom.shared.chassis.commands import Failed, connected
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings

_CONNECT_SECONDS = 5.0


async def examine(nats: NatsSettings, storage: StorageSettings, *, for_programs: bool) -> tuple[str, bool]:
    """Return the report, and whether all is well. Without a connection to NATS the report has only that problem."""
    seen: Observation | None = None
    try:
        async with connected(nats, "doctor", within_seconds=_CONNECT_SECONDS) as bus:
            seen = await look(bus, storage.groups)
        found = problems(seen, specifications(storage))
    except Failed as error:
        found = [str(error)]
    text = json.dumps(as_json(seen, found), indent=2) if for_programs else as_text(seen, found)
    return text, not found
