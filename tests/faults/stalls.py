"""Finds the times at which the checker itself stood still.

Every connection to NATS goes through its event loop, so that is a fault of the network for all processes of the system.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

_SAMPLE_SECONDS = 0.1
STALLED_SECONDS = 1.0
"""A shorter stall delays messages, and breaks nothing."""


class Stall(NamedTuple):
    """Monotonic seconds."""

    began: float
    ended: float


@asynccontextmanager
async def watched() -> AsyncIterator[list[Stall]]:
    """The stalls of the event loop during the block."""
    found: list[Stall] = []
    watching = asyncio.create_task(_watch(found))
    try:
        yield found
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(found: list[Stall]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(_SAMPLE_SECONDS)
        ended = time.monotonic()
        if ended - began > STALLED_SECONDS:
            found.append(Stall(began, ended))
