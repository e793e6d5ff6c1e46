"""Which settings a service reads, and an environment without any."""

import os
from importlib.metadata import entry_points

from studyroom.services.stack.cli import ENTRY_POINTS
from studyroom.shared.chassis.compiled import PURE_PYTHON
from studyroom.shared.chassis.settings import PREFIX, NatsSettings, ProcessSettings, Settings
from studyroom.shared.chassis.tracing.settings import TracesSettings


def settings_of(service: str) -> list[type[Settings]]:
    (entry,) = entry_points(group=ENTRY_POINTS, name=service)
    return [ProcessSettings, NatsSettings, TracesSettings, *entry.load().settings]


def without_settings() -> dict[str, str]:
    """The environment of the tests, for processes that need other settings.

    They run the variant of the data path that the tests run.
    """
    return {
        variable: value
        for variable, value in os.environ.items()
        if variable == PURE_PYTHON or not variable.startswith(PREFIX)
    }
