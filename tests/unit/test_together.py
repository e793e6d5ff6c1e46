"""Work is carried out once for all who wait for it, and for each after it was asked for."""

import asyncio

import pytest

from studyroom.gateway.erasure.together import Together
from studyroom.shared.chassis.nats.bus import BusError, BusUnavailable
from tests.support.waiting import eventually


class Slow:
    """Work that waits until it is released."""

    def __init__(self) -> None:
        self.together = Together(self._work)
        self.batches: list[list[str]] = []
        self._gates: list[asyncio.Event] = []
        self.failure: BusError | None = None

    async def _work(self, items: list[str]) -> None:
        self.batches.append(items)
        self._gates.append(asyncio.Event())
        await self._gates[-1].wait()
        if self.failure is not None:
            raise self.failure

    async def ask(self, *items: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.together.do(item)) for item in items]
        await asyncio.sleep(0)  # so that they have asked
        return tasks

    async def release(self, *items: str) -> None:
        """Let the work for these items go on, once it has begun."""
        await eventually(lambda: self.batches[-1] == list(items), f"the work for {items} has begun")
        self._gates[-1].set()


async def test_those_who_come_during_the_work_share_the_next_one():
    slow = Slow()
    first = await slow.ask("a")
    others = await slow.ask("b", "c")
    await slow.release("a")
    await asyncio.gather(*first)
    assert not any(task.done() for task in others)
    await slow.release("b", "c")
    await asyncio.gather(*others)
    assert slow.batches == [["a"], ["b", "c"]]


async def test_a_failure_reaches_all_who_shared_the_work_and_nobody_else():
    slow = Slow()
    first = await slow.ask("a")
    others = await slow.ask("b", "c")
    await slow.release("a")
    await asyncio.gather(*first)
    slow.failure = BusError("no")
    await slow.release("b", "c")
    assert [type(error) for error in await asyncio.gather(*others, return_exceptions=True)] == [BusError] * 2


async def test_if_the_caller_that_carries_it_out_is_cancelled_the_others_may_ask_again():
    slow = Slow()
    leader, other = await slow.ask("a", "b")
    await eventually(lambda: slow.batches == [["a"]], "the first caller begins alone")
    leader.cancel()
    third = await slow.ask("c")
    await slow.release("b", "c")
    await asyncio.gather(other, *third)
    fourth, fifth = await slow.ask("d", "e")
    await slow.release("d")
    await fourth
    await eventually(lambda: slow.batches[-1] == ["e"], "the next one begins")
    sixth, seventh = await slow.ask("f", "g")
    await slow.release("e")
    await fifth
    await eventually(lambda: slow.batches[-1] == ["f", "g"], "two share it")
    sixth.cancel()
    with pytest.raises(BusUnavailable):
        await seventh
