"""Work in threads for which the end of the process does not wait."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

Result = TypeVar("Result")


async def in_daemon_thread(name: str, work: Callable[[], Result]) -> Result:
    """Return the result of `work`, which runs in a thread of this name. Raises what it raises.

    `asyncio.to_thread` is for short work: the event loop waits for it when it ends. If this is cancelled, the thread
    goes on, and nobody gets the result.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Result] = loop.create_future()

    def set_unless_cancelled(setter: Callable[[], None]) -> None:
        if not result.done():
            setter()

    def run() -> None:
        try:
            setter = partial(result.set_result, work())
        except Exception as error:  # noqa: BLE001 - the caller gets it
            setter = partial(result.set_exception, error)
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(set_unless_cancelled, setter)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await result
