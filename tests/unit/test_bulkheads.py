import asyncio

import pytest

from studyroom.shared.chassis.bulkheads import Bulkheads, Permit


def queue(bulkheads: Bulkheads, compartment: str, count: int) -> list[Permit]:
    return [bulkheads.queue(compartment, bulkheads.number()) for _ in range(count)]


def served(places: list[Permit]) -> list[bool]:
    return [place.done() and not place.cancelled() for place in places]


async def test_each_compartment_has_slots_of_its_own_when_others_have_taken_theirs():
    bulkheads = Bulkheads(own=1, shared=2)
    busy = queue(bulkheads, "busy", 5)
    assert served(busy) == [True] * 3 + [False] * 2
    assert served(queue(bulkheads, "quiet", 2)) == [True, False]
    assert bulkheads.waiting == 3


async def test_within_a_compartment_the_first_to_come_is_the_first_to_be_served():
    bulkheads = Bulkheads(own=1, shared=0)
    places = queue(bulkheads, "one", 4)
    for index in range(3):
        assert served(places) == [True] * (index + 1) + [False] * (3 - index)
        bulkheads.release(places[index])


async def test_a_waiter_that_must_try_again_is_served_before_those_that_came_later():
    bulkheads = Bulkheads(own=1, shared=0)
    number = bulkheads.number()
    first = bulkheads.queue("one", number)
    later = queue(bulkheads, "one", 2)
    bulkheads.release(first)
    assert served(later) == [True, False]
    again = bulkheads.queue("one", number)
    bulkheads.release(later[0])
    assert served([again, later[1]]) == [True, False]


async def test_a_shared_slot_goes_to_the_compartment_that_has_waited_longest():
    bulkheads = Bulkheads(own=1, shared=1)
    (held, lent) = queue(bulkheads, "a", 2)
    (own_b, waits_b), (own_c, waits_c) = queue(bulkheads, "b", 2), queue(bulkheads, "c", 2)
    assert served([held, lent, own_b, own_c]) == [True] * 4
    bulkheads.release(lent)
    assert served([waits_b, waits_c]) == [True, False]


async def test_a_waiter_that_gives_up_costs_nobody_a_slot():
    bulkheads = Bulkheads(own=1, shared=0)
    holding, gone, last = queue(bulkheads, "one", 3)
    bulkheads.release(gone)
    bulkheads.release(gone)
    bulkheads.release(holding)
    assert served([last]) == [True]


async def test_a_task_that_is_cancelled_just_as_it_gets_its_slot_gives_it_back():
    bulkheads = Bulkheads(own=1, shared=0)
    (holding,) = queue(bulkheads, "one", 1)

    async def work() -> None:
        async with bulkheads.slot("one"):
            pytest.fail("it was cancelled before")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    bulkheads.release(holding)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert served(queue(bulkheads, "one", 1)) == [True]


async def test_a_restricted_compartment_gets_one_slot_at_a_time_and_leaves_the_shared_slots_to_others():
    bulkheads = Bulkheads(own=2, shared=2)
    now = asyncio.get_running_loop().time()
    bulkheads.restrict("stuck", now)
    stuck = queue(bulkheads, "stuck", 3)
    assert served(stuck) == [False] * 3, "not before the loop has come to it"
    await asyncio.wait([stuck[0]], timeout=5)
    assert served(stuck) == [True, False, False]
    assert served(queue(bulkheads, "other", 5)) == [True] * 4 + [False]
    bulkheads.restrict("stuck", now + 3600)
    bulkheads.release(stuck[0])
    assert served(stuck[1:]) == [False, False]
    bulkheads.relax("stuck")
    assert served(stuck[1:]) == [True, True]
