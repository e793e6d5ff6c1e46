"""How many joins ask presence at the same time; the others wait in the order they came.

Asked all at once, thousands of joins would each be answered late, be asked again for that, and be answered later still.
In turns each is answered soon, and the last one is done no later.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Admission:
    def __init__(self, at_once: int, *, patience_seconds: float) -> None:
        """`patience_seconds`: who waits is patient for so long, and then for as long as others get through."""
        self._slots = asyncio.Semaphore(at_once)
        self._patience_seconds = patience_seconds
        self._got_through = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises TimeoutError when nobody gets through."""
        await self._wait()
        try:
            yield
        finally:
            self._slots.release()

    def got_through(self) -> None:
        """A join was answered: those who wait may hope."""
        self._got_through = time.monotonic()

    async def _wait(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._patience_seconds):
                    await self._slots.acquire()
                    return
            except TimeoutError:
                if time.monotonic() - self._got_through > self._patience_seconds:
                    raise
