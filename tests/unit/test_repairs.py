"""Repairs of copies: one at a time, again when it is needed, and looked at afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from studyroom.shared.chassis import repairs
from studyroom.shared.chassis.repairs import Repairs
from tests.support.waiting import eventually


class Unavailable(Exception):
    pass


class Copies:
    """Counts the repairs of each copy. Each repair takes until `go_on`."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.failing = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def repair(self, key: str) -> None:
        self.began.append(key)
        await self.go_on.wait()
        if self.failing:
            self.failing -= 1
            raise Unavailable


def begin(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)


def repairs_of(copies: Copies, **options: Any) -> Repairs[str]:
    return Repairs(begin, "test", copies.repair, failures=(Unavailable,), **options)


@asynccontextmanager
async def running(copies: Repairs[str], compare: Callable[[], Any], **options: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(copies.run(compare, **options))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_copy_is_repaired_once_however_often_it_is_invalidated_before_its_repair_begins():
    copies = Copies()
    kept = repairs_of(copies)
    task = kept.invalidate("a")
    assert kept.invalidate("a") is task
    assert "a" in kept
    await task
    assert copies.began == ["a"]
    assert "a" not in kept


async def test_invalidations_during_a_repair_make_one_more_and_end_with_that():
    copies = Copies()
    kept = repairs_of(copies)
    copies.go_on.clear()
    first = kept.invalidate("a")
    await eventually(lambda: copies.began == ["a"], "the repair has begun")
    later = [kept.invalidate("a") for _ in range(3)]
    copies.go_on.set()
    await asyncio.gather(*later)
    assert first.done()
    assert copies.began == ["a", "a"]


async def test_copies_are_repaired_independently_and_one_that_fails_delays_no_other():
    copies = Copies()
    kept = repairs_of(copies)
    copies.go_on.clear()
    slow = kept.invalidate("slow")
    await eventually(lambda: copies.began == ["slow"], "the slow one has begun")
    copies.go_on.set()
    await kept.invalidate("quick")
    await slow
    assert copies.began == ["slow", "quick"]


async def test_a_repair_that_fails_is_tried_again_after_growing_pauses_up_to_the_longest():
    copies = Copies()
    copies.failing = 4
    kept = repairs_of(copies, pause_seconds=(0.02, 0.08))
    began = time.monotonic()
    await kept.invalidate("a")
    took_seconds = time.monotonic() - began
    assert copies.began == ["a"] * 5
    assert took_seconds >= (0.02 + 0.04 + 0.08 + 0.08) / 2


async def test_an_unexpected_error_ends_the_repair_and_the_next_invalidation_begins_another():
    copies = Copies()
    kept = Repairs[str](begin, "test", copies.repair)
    copies.failing = 1
    with pytest.raises(Unavailable):
        await kept.invalidate("a")
    assert "a" not in kept
    await kept.invalidate("a")
    assert copies.began == ["a", "a"]


async def test_many_repairs_do_not_begin_at_once_and_few_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repairs, "_SPREAD_SECONDS", 0.2)
    few, many = Copies(), Copies()
    copies_of_few, copies_of_many = repairs_of(few), repairs_of(many)
    tasks = copies_of_few.invalidate_all([str(key) for key in range(32)])
    await asyncio.sleep(0.01)
    assert len(few.began) == 32
    tasks += copies_of_many.invalidate_all([str(key) for key in range(100)])
    await asyncio.sleep(0.01)
    assert len(many.began) < 100
    await asyncio.gather(*tasks)
    assert len(many.began) == 100


async def test_a_repaired_copy_is_due_for_its_checks_in_time_and_others_are_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repairs, "_TICK_SECONDS", 0.01)
    copies = Copies()
    kept = repairs_of(copies, check_after_seconds=(0.05, 0.15))
    checked: list[tuple[float, str]] = []

    async def check(keys: set[str]) -> None:
        checked.extend((time.monotonic(), key) for key in keys)

    async def compare() -> None:
        raise AssertionError("it is not time")

    async with running(kept, compare, every_seconds=60, check=check):
        await kept.invalidate("a")
        repaired_at = time.monotonic()
        await eventually(lambda: len(checked) == 2, "both checks")
        await asyncio.sleep(0.05)
    assert [key for _, key in checked] == ["a", "a"]
    assert [at - repaired_at >= due - 0.01 for (at, _), due in zip(checked, (0.05, 0.15), strict=True)] == [True, True]


async def test_checks_begin_again_when_a_copy_is_invalidated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repairs, "_TICK_SECONDS", 0.01)
    copies = Copies()
    kept = repairs_of(copies, check_after_seconds=(0.1,))
    checked: list[str] = []

    async def check(keys: set[str]) -> None:
        checked.extend(keys)

    async def compare() -> None: ...

    async with running(kept, compare, every_seconds=60, check=check):
        await kept.invalidate("a")
        copies.go_on.clear()
        again = kept.invalidate("a")
        await asyncio.sleep(0.15)
        assert checked == []
        copies.go_on.set()
        await again
        await eventually(lambda: checked == ["a"], "one check, after the second repair")


async def test_everything_is_compared_regularly_also_after_a_comparison_that_failed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repairs, "_TICK_SECONDS", 0.01)
    compared = 0

    async def compare() -> None:
        nonlocal compared
        compared += 1
        if compared == 1:
            raise Unavailable

    async with running(repairs_of(Copies()), compare, every_seconds=0.02):
        await eventually(lambda: compared >= 3, "it was compared again")


async def test_a_comparison_that_breaks_ends_the_loop_so_that_its_supervisor_sees_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repairs, "_TICK_SECONDS", 0.01)

    async def compare() -> None:
        raise ValueError("a fault in the code")

    with pytest.raises(ValueError, match="a fault"):
        await repairs_of(Copies()).run(compare, every_seconds=0)
