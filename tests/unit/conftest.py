import asyncio
from collections.abc import Callable, Mapping

import uvloop
from hypothesis import settings

# Examples enough to find what is wrong, few enough for a test run after every change.
settings.register_profile("unit", max_examples=80, deadline=None)
settings.load_profile("unit")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the services run in."""
    return {"uvloop": uvloop.new_event_loop}
