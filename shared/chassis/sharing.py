"""Waits for work that several callers share."""

import asyncio
from typing import TypeVar

Result = TypeVar("Result")


async def result_of(work: "asyncio.Future[Result]") -> Result:
    """Return the result of work that others wait for too, or raise its exception.

    A caller that is cancelled does not cancel the work. `asyncio.shield` does the same, but since Python 3.14 it
    reports a failure that comes after such a cancellation as one that nothing handles. Here its owner handles it.
    """
    if not work.done():
        await asyncio.wait({work})
    return work.result()
