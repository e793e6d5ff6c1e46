"""Background tasks that have a name and an owner, and whose failures are logged and counted."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.metrics import ProcessMetrics

_RESTART_WAIT_SECONDS = (0.1, 5.0)
"""The first and the longest wait before a failed loop starts again. Waits double in between, with jitter."""

log = logs.get(__name__)


class Tasks:
    """All background tasks of one process."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics
        self._running: set[asyncio.Task[None]] = set()
        self._counted: set[str] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` once. Log and count its failure."""
        if name not in self._counted:  # A counter that begins at 1 hides the first failure from `increase`.
            self._counted.add(name)
            self._metrics.task_failures.labels(task=name)
        task = asyncio.get_running_loop().create_task(self._watch(name, work), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def supervise(self, name: str, loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `loop` until `stop`. If it fails or returns, start it again after a wait."""
        return self.spawn(name, self._restart(name, loop))

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        while self._running:
            running = list(self._running)
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    async def _watch(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            self._metrics.task_failures.labels(task=name).inc()
            log.exception("a task failed", task=name)

    async def _restart(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        shortest, longest = _RESTART_WAIT_SECONDS
        wait = shortest
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await loop()
            except Exception:
                self._metrics.task_failures.labels(task=name).inc()
                log.exception("a task failed, starting it again", task=name)
            if asyncio.get_running_loop().time() - started > longest:
                wait = shortest
            await asyncio.sleep(random.uniform(0, wait))  # noqa: S311 - jitter
            wait = min(wait * 2, longest)
