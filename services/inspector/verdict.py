"""Looks until it is certain whether everybody agrees."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from studyroom.services.inspector.differences import Difference, lasting

LOOK_AGAIN_SECONDS = (1.0, 2.0)
"""A difference counts if it is still there after each of these pauses. The slowest change that is on its way arrives
within the first, unless something is wrong."""
_LOOKS_MAX = 5
"""The most looks if the stream cannot be read at some of them."""

Look = TypeVar("Look")


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Look]):
    look: Look
    """The last one."""
    differences: list[Difference]
    """Those that every look has shown."""
    looks: int
    failures: dict[str, str]
    """The parts that could not be had at the last look, with the reasons. They were not compared."""

    @property
    def status(self) -> int:
        """The exit status: 1 if somebody differs, 2 if none was found but not everything could be compared, else 0."""
        return 1 if self.differences else 2 if self.failures else 0


async def look_until_certain(
    look: Callable[[], Awaitable[Look]],
    differences: Callable[[Look], list[Difference]],
    is_known: Callable[[Look], bool],
) -> tuple[Look, list[Difference], int]:
    """Look once, and again while there are differences that may be changes in flight.

    `is_known`: whether the stream could be read at a look. Without that, the look confirms nothing.
    Return the last look, the differences that are certain, and how many looks that took.
    """
    looks, confirmed, seen = 1, 0, await look()
    found = differences(seen)
    while (found or not is_known(seen)) and confirmed < len(LOOK_AGAIN_SECONDS) and looks < _LOOKS_MAX:
        confirms = is_known(seen)
        await asyncio.sleep(LOOK_AGAIN_SECONDS[confirmed])
        looks, seen = looks + 1, await look()
        if confirms:
            confirmed, found = confirmed + 1, lasting(found, differences(seen))
        else:
            confirmed, found = 0, differences(seen)
    return seen, found, looks
