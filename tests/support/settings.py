"""Which settings a service reads."""

from importlib.metadata import entry_points

from studyroom.services.stack.cli import ENTRY_POINTS
from studyroom.shared.chassis.settings import NatsSettings, ProcessSettings, Settings


def settings_of(service: str) -> list[type[Settings]]:
    (entry,) = entry_points(group=ENTRY_POINTS, name=service)
    return [ProcessSettings, NatsSettings, *entry.load().settings]
