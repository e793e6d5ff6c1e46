"""Regular work of one process wakes it up together: an idle process mostly pays for waking up."""

import asyncio
import time

_BEGAN = time.monotonic()
"""Different in each process, so that many of them do not wake up at the same time."""


async def next_tick(seconds: float) -> None:
    """Return at the next multiple of `seconds` since this process began, but not sooner than after half of them.

    Intervals that are multiples of each other end together.
    """
    await asyncio.sleep(seconds_to_tick(seconds))


def seconds_to_tick(seconds: float) -> float:
    """Return how long `next_tick` waits. At least half of `seconds`, because a timer may end a little early."""
    left = seconds - (time.monotonic() - _BEGAN) % seconds
    return left if left >= seconds / 2 else left + seconds
