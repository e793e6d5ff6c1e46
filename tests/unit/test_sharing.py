"""Work that several callers wait for."""

import asyncio
from typing import Any

import pytest

from studyroom.shared.chassis.sharing import result_of


async def test_every_caller_gets_the_result_and_the_exception():
    work: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    callers = [asyncio.ensure_future(result_of(work)) for _ in range(2)]
    await asyncio.sleep(0)
    work.set_result(7)
    assert await asyncio.gather(*callers, result_of(work)) == [7, 7, 7]
    failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    failed.set_exception(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await result_of(failed)


async def test_a_caller_that_is_cancelled_cancels_nothing_and_a_later_failure_is_not_reported_as_unhandled():
    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    work: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    first, second = (asyncio.ensure_future(result_of(work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not work.done()
    work.set_exception(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await second
    assert unhandled == []
