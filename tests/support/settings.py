"""Which settings a service reads."""

from importlib.metadata import entry_points

from services.cli import ENTRY_POINTS
from services.settings import NatsSettings, ProcessSettings, Settings


def settings_of(service: str) -> list[type[Settings]]:
    (entry,) = entry_points(group=ENTRY_POINTS, name=service)
    return [ProcessSettings, NatsSettings, *entry.load().settings]
