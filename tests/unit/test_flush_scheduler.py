"""How long rooms collect, and when they are flushed, on a real event loop. Of times, only lower bounds are asserted."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.rooms.flush_scheduler import Collection, CollectionTime, FlushScheduler
from studyroom.shared.chassis.busyness import busy_seconds
from tests.support.waiting import eventually

LONGEST_SECONDS = 0.075
SAMPLE_SECONDS = 0.1
SETTLED_SAMPLES = 200


def settled(demand: float) -> CollectionTime:
    """The collection time after 20 s in which the loop would need so many cores if rooms did not collect."""
    collection = CollectionTime(LONGEST_SECONDS)
    for _ in range(SETTLED_SAMPLES):
        observe(collection, min(1.0, demand), max(0.0, demand - 1.0))
    return collection


def observe(collection: CollectionTime, busy: float, saved: float = 0.0) -> None:
    """Both as shares of a core."""
    collection.observe(SAMPLE_SECONDS * busy, SAMPLE_SECONDS * saved, SAMPLE_SECONDS)


# --- the collection time ---------------------------------------------------------------------------------


def test_rooms_collect_nothing_at_light_load():
    assert settled(0.3).seconds == 0


def test_rooms_collect_for_the_longest_time_at_a_great_demand():
    assert settled(10).seconds == LONGEST_SECONDS


@given(st.floats(0, 20), st.floats(0, 20))
def test_rooms_collect_for_longer_at_a_greater_demand_and_never_beyond_the_longest_time(one: float, other: float):
    lower, higher = settled(min(one, other)).seconds, settled(max(one, other)).seconds
    assert 0 <= lower <= higher <= LONGEST_SECONDS


@given(st.floats(0, 1))
def test_rooms_collect_for_the_shortest_time_even_at_light_load(load: float):
    collection = CollectionTime(LONGEST_SECONDS, 0.01)
    without = CollectionTime(LONGEST_SECONDS)
    for _ in range(SETTLED_SAMPLES):
        observe(collection, load)
        observe(without, load)
        assert collection.seconds == max(0.01, without.seconds)


def test_more_load_than_time_counts_as_one_core():
    collection = CollectionTime(LONGEST_SECONDS)
    for _ in range(SETTLED_SAMPLES):
        observe(collection, 3)
    assert collection.seconds == pytest.approx(settled(1).seconds)


@given(
    fixed=st.floats(0, 0.5),
    flush_load=st.floats(0, 10),
    gap_seconds=st.floats(0.0005, 1),
)
def test_the_time_settles_without_swinging_although_longer_collections_make_the_loop_less_busy(
    fixed: float, flush_load: float, gap_seconds: float
):
    """`flush_load`: of the flushes, if each message had its own. `gap_seconds`: between the messages of a room."""
    collection, times = CollectionTime(LONGEST_SECONDS), []
    for _ in range(SETTLED_SAMPLES):
        flushed = flush_load * gap_seconds / (gap_seconds + collection.seconds)
        observe(collection, fixed + flushed, flush_load - flushed)
        times.append(collection.seconds)
    late = times[-50:]
    assert max(late) - min(late) <= 0.0005
    steps = [after - before for before, after in pairwise(times)]
    turns = sum(one * other < 0 for one, other in pairwise(steps) if abs(one) > 0.0005)
    assert turns <= 1


@pytest.mark.parametrize("flush_seconds", [0.001, 0.005, 0.02])
@pytest.mark.parametrize("gap_seconds", [0.002, 0.01])
def test_the_time_settles_if_each_sample_has_only_a_few_flushes_of_a_large_room(
    flush_seconds: float, gap_seconds: float
):
    collection, times = CollectionTime(LONGEST_SECONDS), []
    flush_at = busy = saved = sampled_at = 0.0
    for _ in range(20_000):
        wait = max(gap_seconds, collection.seconds, 3 * flush_seconds)
        flush_at += wait
        busy += flush_seconds
        saved += flush_seconds * (wait / gap_seconds - 1)
        while flush_at - sampled_at >= SAMPLE_SECONDS:
            sampled_at += SAMPLE_SECONDS
            collection.observe(busy, saved, SAMPLE_SECONDS)
            busy = saved = 0.0
            times.append(collection.seconds)
    late = times[len(times) // 2 :]
    assert max(late) - min(late) <= 0.015


@given(st.floats(0, 20))
def test_the_loop_pauses_for_at_most_half_of_the_time_that_rooms_collect(demand: float):
    collection = settled(demand)
    assert 0 <= collection.pause_seconds <= collection.seconds / 2


# --- flushes ---------------------------------------------------------------------------------------------


@dataclass
class Room:
    """A room whose flushes take `flush_seconds`."""

    scheduler: FlushScheduler
    flush_seconds: float = 0.0
    flushes: list[float] = field(default_factory=list)
    stretch: float = 1.0

    def __post_init__(self) -> None:
        self.collection = Collection(self.scheduler, self._flush, stretch=self.stretch)
        self.request_flush = self.collection.request_flush

    def _flush(self) -> None:
        self.flushes.append(time.monotonic())
        time.sleep(self.flush_seconds)

    async def flushed(self, times: int) -> None:
        await eventually(lambda: len(self.flushes) >= times, f"{times} flushes")


@pytest.fixture
def idle() -> FlushScheduler:
    return FlushScheduler(LONGEST_SECONDS, lambda: 0.0)


@pytest.fixture
async def busy() -> FlushScheduler:
    """A scheduler whose rooms collect for the longest time, because that saves much."""
    scheduler = FlushScheduler(LONGEST_SECONDS, lambda: 0.0)
    room = Room(scheduler, flush_seconds=0.001)

    def collects() -> bool:
        for _ in range(1000):
            room.request_flush()
        return scheduler.collection_seconds > 0.9 * LONGEST_SECONDS

    await eventually(collects, "rooms collect")
    await eventually(lambda: not room.collection.requests, "the last flush")
    return scheduler


async def test_on_an_idle_loop_rooms_are_flushed_in_the_same_pass(idle: FlushScheduler):
    rooms = [Room(idle) for _ in range(20)]
    for room in rooms:
        room.request_flush()
        room.request_flush()
    await asyncio.sleep(0)
    assert [len(room.flushes) for room in rooms] == [1] * len(rooms)


async def test_on_a_busy_loop_a_quiet_room_is_flushed_at_once_and_then_collects(busy: FlushScheduler):
    room = Room(busy)
    room.request_flush()
    await asyncio.sleep(0)
    assert len(room.flushes) == 1
    room.request_flush()
    await room.flushed(2)
    assert room.flushes[1] - room.flushes[0] >= 0.7 * LONGEST_SECONDS


async def test_with_a_shortest_time_a_quiet_room_is_flushed_at_once_and_then_collects_without_load():
    room = Room(FlushScheduler(LONGEST_SECONDS, lambda: 0.0, shortest_seconds=0.05))
    room.request_flush()
    await room.flushed(1)
    room.request_flush()
    await room.flushed(2)
    assert room.flushes[1] - room.flushes[0] >= 0.7 * 0.05


@pytest.mark.parametrize(("stretch", "shortest_ms", "least_ms"), [(1, 2, 2), (3, 2, 6), (100, 2, 12), (3, 30, 30)])
async def test_a_stretched_collection_takes_longer_up_to_a_bound_and_never_less_than_others(
    stretch: float, shortest_ms: int, least_ms: int
):
    room = Room(FlushScheduler(LONGEST_SECONDS, lambda: 0.0, shortest_seconds=shortest_ms / 1000), stretch=stretch)
    room.request_flush()
    await room.flushed(1)
    assert room.collection.ends_at - room.flushes[0] >= 0.7 * least_ms / 1000
    room.request_flush()
    await room.flushed(2)
    assert room.flushes[1] - room.flushes[0] >= 0.7 * least_ms / 1000


async def test_rooms_whose_collections_end_at_about_the_same_time_are_flushed_together(busy: FlushScheduler):
    rooms = [Room(busy) for _ in range(20)]
    for number, room in enumerate(rooms):
        room.collection.ends_at = time.monotonic() + 0.02 + number * 0.0001
        room.request_flush()
    await rooms[0].flushed(1)
    assert [len(room.flushes) for room in rooms] == [1] * len(rooms)


async def test_a_large_room_leaves_most_of_the_loop_to_others(idle: FlushScheduler):
    room = Room(idle, flush_seconds=0.01)
    for times in (1, 2):
        room.request_flush()
        await room.flushed(times)
    assert room.flushes[1] - room.flushes[0] >= 3 * room.flush_seconds - 0.001


async def test_flushes_that_collecting_has_saved_count_as_demand_and_the_loop_pauses():
    pauses: list[float] = []
    scheduler = FlushScheduler(LONGEST_SECONDS, lambda: 0.0, pause=pauses.append)
    room = Room(scheduler, flush_seconds=0.002)

    def collects() -> bool:
        for _ in range(100):
            room.request_flush()
        return scheduler.collection_seconds > 0 and bool(pauses) and pauses[-1] > 0

    await eventually(collects, "the loop pauses")


async def test_a_due_flush_is_made_by_the_given_call():
    calls: list[Callable[[], None]] = []
    room = Room(FlushScheduler(LONGEST_SECONDS, lambda: 0.0, call_soon=calls.append))
    room.request_flush()
    await asyncio.sleep(0.01)
    assert (len(calls), room.flushes) == (1, [])
    calls[0]()
    assert len(room.flushes) == 1


async def test_small_rooms_do_not_wait_while_a_large_one_collects(idle: FlushScheduler):
    large, small = Room(idle, flush_seconds=0.05), Room(idle)
    large.request_flush()
    await large.flushed(1)
    large.request_flush()
    small.request_flush()
    await asyncio.sleep(0)
    assert (len(large.flushes), len(small.flushes)) == (1, 1)
    await large.flushed(2)


async def test_the_room_whose_collection_ends_first_is_flushed_first(idle: FlushScheduler):
    late, early = Room(idle), Room(idle)
    late.collection.ends_at, early.collection.ends_at = time.monotonic() + 0.1, time.monotonic() + 0.01
    late.request_flush()
    early.request_flush()
    await late.flushed(1)
    assert early.flushes[0] < late.flushes[0]


async def test_a_room_may_request_another_flush_during_a_flush(idle: FlushScheduler):
    room = Room(idle)
    flush = room.collection.flush

    def flush_and_request() -> None:
        flush()
        if len(room.flushes) == 1:
            room.request_flush()

    room.collection.flush = flush_and_request
    room.request_flush()
    await room.flushed(2)


async def test_a_flush_calls_a_function_first_that_was_requested_with_it_and_only_once(idle: FlushScheduler):
    room, order = Room(idle), []
    room.collection.flush = lambda: order.append("flush")
    room.collection.request_flush_with(lambda: order.append("first"))
    room.request_flush()
    await eventually(lambda: "flush" in order, "the flush")
    room.request_flush()
    await eventually(lambda: order.count("flush") == 2, "the next flush")
    assert order == ["first", "flush", "flush"]


async def test_a_flush_that_fails_takes_no_flush_from_other_rooms(idle: FlushScheduler):
    def fail() -> None:
        raise ArithmeticError

    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context.get("exception")))
    failing, room = Collection(idle, fail), Room(idle)
    failing.request_flush()
    room.request_flush()
    await room.flushed(1)
    assert [type(failure) for failure in failures] == [ArithmeticError]


async def test_no_room_is_forgotten_when_the_loop_is_held_up(busy: FlushScheduler):
    rooms = [Room(busy) for _ in range(3)]
    for times in (1, 2, 3):
        for room in rooms:
            room.request_flush()
        time.sleep(2 * LONGEST_SECONDS)  # noqa: ASYNC251 - the loop is held up on purpose
        for room in rooms:
            await room.flushed(times)


# --- busyness --------------------------------------------------------------------------------------------


def test_a_thread_is_busy_while_it_runs_and_not_while_it_sleeps():
    before = busy_seconds()
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    assert busy_seconds() - before >= 0.04
    began, before = time.monotonic(), busy_seconds()
    time.sleep(0.2)
    assert busy_seconds() - before <= time.monotonic() - began
