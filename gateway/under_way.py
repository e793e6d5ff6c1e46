"""What a gateway has begun on behalf of connections, and finishes before it stops."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from services.tasks import Tasks


class UnderWay:
    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._begun: set[asyncio.Task[None]] = set()

    def begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.spawn(name, work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return task

    async def settled(self) -> None:
        """Returns when nothing is under way, nor anything that it has begun."""
        while self._begun:
            await asyncio.wait(self._begun)
