"""Keeping copies right: repair what was invalidated, check it again soon after, and compare everything regularly.

A copy here is anything that another process holds the original of. Nothing in this module knows what is copied: the
owner says how to repair one copy, and how to compare them.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.ticks import next_tick

log = logs.get(__name__)

_TICK_SECONDS = 0.25
_SPREAD_SECONDS = 0.5
_SPREAD_FROM = 32

Key = TypeVar("Key", bound=Hashable)
Begin = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task with this name."""


class Repairs(Generic[Key]):
    """Repairs copies by key: one repair of each at a time, and one more when the copy was invalidated meanwhile."""

    def __init__(
        self,
        begin: Begin,
        name: str,
        repair: Callable[[Key], Awaitable[None]],
        *,
        label: Callable[[Key], str] = str,
        failures: tuple[type[Exception], ...] = (),
        pause_seconds: tuple[float, float] = (0.1, 2.0),
        check_after_seconds: tuple[float, ...] = (),
    ) -> None:
        """After one of the `failures` a repair is tried again, after the first of `pause_seconds`, doubled each time up
        to the second. `label` names a copy in the log.

        `check_after_seconds`: how long after a repair, in order, its copy is due for a check.
        """
        self._begin = begin
        self._name = name
        self._repair = repair
        self._label = label
        self._failures = failures
        self._pause_seconds = pause_seconds
        self._check_after_seconds = check_after_seconds
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()
        """Copies that were invalidated after their running repair began."""
        self._checks: dict[Key, list[float]] = {}
        """When copies are due for checks, in seconds of the event loop."""

    def __contains__(self, key: object) -> bool:
        """A repair of this copy is under way."""
        return key in self._running

    def invalidate(self, key: Key, *, wait_seconds: float = 0.0) -> asyncio.Task[None]:
        """Repair a copy. The task ends when a repair that began after this call has succeeded. It is shared: shield it.

        `wait_seconds`: how long to wait before a repair that this call begins.
        """
        self._checks.pop(key, None)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = self._begin(self._name, self._repair_until_valid(key, wait_seconds))
        else:
            self._again.add(key)
        return task

    def invalidate_all(self, keys: Collection[Key]) -> list[asyncio.Task[None]]:
        """Invalidate each. Many repairs do not all begin at once, because other gateways begin theirs too."""
        spread_seconds = _SPREAD_SECONDS if len(keys) > _SPREAD_FROM else 0.0
        return [self.invalidate(key, wait_seconds=random.uniform(0, spread_seconds)) for key in keys]  # noqa: S311 - jitter

    async def _repair_until_valid(self, key: Key, wait_seconds: float) -> None:
        first_pause_seconds, longest_pause_seconds = self._pause_seconds
        pause_seconds = first_pause_seconds
        try:
            await asyncio.sleep(wait_seconds)
            while True:
                self._again.discard(key)
                try:
                    await self._repair(key)
                except self._failures as error:
                    log.info("repair failed, trying again", of=self._name, key=self._label(key), error=_why(error))
                    await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                    pause_seconds = min(2 * pause_seconds, longest_pause_seconds)
                    continue
                if key not in self._again:
                    break
                pause_seconds = first_pause_seconds
        finally:
            del self._running[key]
            self._again.discard(key)
        if self._check_after_seconds:
            now = asyncio.get_running_loop().time()
            self._checks[key] = [now + seconds for seconds in self._check_after_seconds]

    async def run(
        self,
        compare: Callable[[], Awaitable[None]],
        *,
        every_seconds: float,
        check: Callable[[set[Key]], Awaitable[None]] | None = None,
    ) -> None:
        """Never returns. Calls `compare` about `every_seconds`, and `check` four times a second with what is due.

        Either may raise one of the failures: that is logged, and the next call comes in its time.
        """
        loop = asyncio.get_running_loop()
        compare_at = loop.time() + _jittered(every_seconds)
        while True:
            await next_tick(_TICK_SECONDS)
            compare_now = loop.time() >= compare_at
            try:
                if check is not None:
                    await check(self._take_due(loop.time()))
                if compare_now:
                    await compare()
            except self._failures as error:
                log.info("comparison failed", of=self._name, error=_why(error))
            if compare_now:
                compare_at = loop.time() + _jittered(every_seconds)

    def _take_due(self, now: float) -> set[Key]:
        due = {key for key, times in self._checks.items() if times[0] <= now}
        for key in due:
            del self._checks[key][0]
            if not self._checks[key]:
                del self._checks[key]
        return due


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - jitter


def _why(error: Exception) -> str:
    return str(error) or "no answer in time"
