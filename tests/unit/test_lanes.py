import asyncio

import pytest

from studyroom.gateway.membership.lanes import Lane, Patience
from studyroom.shared.chassis.bulkheads import Permit

SHARD, OTHER = 3, 4


def queue(lane: Lane, shard: int, count: int) -> list[Permit]:
    return [lane.queue(shard, lane.number()) for _ in range(count)]


def served(places: list[Permit]) -> int:
    return sum(place.done() and not place.cancelled() for place in places)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_shard_that_does_not_answer_gets_only_the_oldest_question_at_a_time():
    lane = Lane(own=1, shared=2)
    number = lane.number()
    first = lane.queue(SHARD, number)
    later = queue(lane, SHARD, 4)
    assert served([first, *later]) == 3
    for place in (first, *later[:2]):
        lane.unanswered(SHARD, now())
        lane.release(place)
    assert served(later[2:]) == 0
    again = lane.queue(SHARD, number)
    await asyncio.wait([again], timeout=5)
    assert (served([again]), served(later[2:])) == (1, 0)
    assert served(queue(lane, OTHER, 4)) == 3, "the shared slots are free for others"


async def test_the_first_useful_answer_gives_a_shard_all_its_slots_again():
    lane = Lane(own=1, shared=2)
    lane.unanswered(SHARD, now())
    assert not lane.answers(SHARD)
    waiting = queue(lane, SHARD, 4)
    lane.answered(SHARD)
    assert lane.answers(SHARD)
    assert served(waiting) == 3


async def test_an_unanswered_question_means_nothing_for_a_shard_that_has_answered_others_since():
    lane = Lane(own=1, shared=2)
    asked_at = now()
    lane.answered(SHARD)
    lane.unanswered(SHARD, asked_at)
    assert lane.answers(SHARD)


async def test_patience_lasts_while_others_get_through_and_its_deadline_begins_with_the_first_question():
    patience = Patience(10.0)
    asked: list[bool] = []
    patience.when_started = lambda: asked.append(True)
    async with patience:
        began = now()
        assert patience.remaining(0.0) == pytest.approx(10, abs=1)
        assert patience.remaining(began - 100) == pytest.approx(10, abs=1)
        assert patience.remaining(began + 7) == pytest.approx(17, abs=1)
        patience.start(began + 7)
        patience.start(began + 9)
        assert patience.remaining(began + 9) is None, "the deadline runs"
    assert patience.deadline == pytest.approx(began + 17, abs=1)
    assert asked == [True]


async def test_patience_ends_with_its_deadline():
    patience = Patience(0.01)

    async def wait() -> None:
        async with patience:
            patience.start(now())
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await wait()
