"""The tasks that a gateway has started for its connections, and finishes before it stops."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from studyroom.shared.chassis.tasks import Tasks


class PendingWork:
    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._begun: set[asyncio.Task[None]] = set()

    def begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.spawn(name, work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return task

    async def settled(self, within_seconds: float) -> int:
        """Wait until no task is running, also none that these tasks start. Returns how many remain after the time."""
        deadline = asyncio.get_running_loop().time() + within_seconds
        while self._begun:
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0 or not (await asyncio.wait(self._begun, timeout=remaining))[0]:
                return len(self._begun)
        return 0
