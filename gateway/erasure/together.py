"""Carries out long work once for all who wait for it, as databases commit in groups."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from studyroom.shared.chassis.nats.bus import BusUnavailable

Item = TypeVar("Item")


class Together(Generic[Item]):
    def __init__(self, work: Callable[[list[Item]], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._busy = asyncio.Lock()

    async def do(self, item: Item) -> None:
        """Returns when the work is done for this item. It begins after this call, so it misses nothing from before.

        Raises what the work raises, or BusUnavailable if the caller that carried it out was cancelled.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # If the caller is cancelled, nobody else retrieves the exception.
        done.add_done_callback(lambda one: one.cancelled() or one.exception())
        self._waiting.append((item, done))
        async with self._busy:
            if not done.done():
                await self._carry_out()
        await done

    async def _carry_out(self) -> None:
        batch, self._waiting = self._waiting, []
        failure: Exception | None = BusUnavailable("the work was interrupted")
        try:
            await self._work([item for item, _ in batch])
            failure = None
        except Exception as error:  # noqa: BLE001 - each caller gets it
            failure = error
        finally:
            for _, done in batch:
                if done.done():
                    continue  # the caller was cancelled
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)
