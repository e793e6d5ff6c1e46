"""Keeps cancellations that older versions of Python lose."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

Result = TypeVar("Result")


async def honouring_cancellation(work: Awaitable[Result]) -> Result:
    """Await `work`, and raise CancelledError if a cancellation during it was lost.

    Before Python 3.12, `asyncio.wait_for` loses a cancellation that comes together with its result
    (python/cpython#86296). nats-py's endless loops would then go on.
    """
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    before = task.cancelling()
    try:
        return await work
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError
