"""When rooms have their turns. The event loop is real; what is asserted of time are lower bounds only."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from studyroom.gateway.rooms.flush_scheduler import NEVER, FlushScheduler
from tests.support.waiting import eventually

TICK_SECONDS = 0.05
SLOT_SECONDS = TICK_SECONDS / 16


@dataclass
class Room:
    flush_at: int = NEVER
    flushed_at: float = 0.0
    deliver_at: int = NEVER
    turns: list[float] = field(default_factory=list)
    deliveries: list[float] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def flush(self) -> None:
        self.turns.append(asyncio.get_running_loop().time())
        self.happened.set()

    def deliver(self) -> None:
        self.deliveries.append(asyncio.get_running_loop().time())
        self.happened.set()

    async def next(self) -> None:
        self.happened.clear()
        await asyncio.wait_for(self.happened.wait(), 5)


async def busy(scheduler: FlushScheduler) -> Room:
    """A room that has just had a flush."""
    room = Room()
    scheduler.request_flush(room)
    await room.next()
    return room


async def test_a_quiet_room_has_its_turn_in_the_same_turn_of_the_loop():
    scheduler, room = FlushScheduler(TICK_SECONDS), Room()
    scheduler.request_flush(room)
    await asyncio.sleep(0)
    assert len(room.turns) == 1


async def test_a_busy_room_has_its_turn_a_tick_after_it_asked():
    scheduler = FlushScheduler(TICK_SECONDS)
    room = await busy(scheduler)
    asked = asyncio.get_running_loop().time()
    scheduler.request_flush(room)
    await room.next()
    assert room.turns[-1] - asked >= TICK_SECONDS - 0.001
    assert room.flush_at == NEVER


async def test_rooms_that_ask_in_one_slot_have_their_turns_in_one_turn_of_the_loop():
    scheduler = FlushScheduler(TICK_SECONDS)
    rooms = [await busy(scheduler) for _ in range(20)]
    await asyncio.sleep(0)
    for room in rooms:
        scheduler.request_flush(room)
    waiting = {room.flush_at for room in rooms}
    await asyncio.gather(*(room.next() for room in rooms))
    assert len({room.flushed_at for room in rooms}) <= len(waiting) <= 2


async def test_a_room_joins_the_turn_of_another_gateway_and_has_no_second_one_for_it():
    scheduler = FlushScheduler(TICK_SECONDS)
    room = await busy(scheduler)
    scheduler.request_flush(room)
    while asyncio.get_running_loop().time() - room.flushed_at < TICK_SECONDS / 2:
        await asyncio.sleep(0.001)
    scheduler.flush_with_neighbours(room)
    assert len(room.turns) == 2
    assert room.flush_at == NEVER
    # It asks again at once, and what it asked for before must not give it that flush early.
    asked = asyncio.get_running_loop().time()
    scheduler.request_flush(room)
    await room.next()
    assert len(room.turns) == 3
    assert room.turns[-1] - asked >= TICK_SECONDS - 0.001


async def test_a_room_that_has_just_had_a_turn_joins_none_so_that_gateways_cannot_drive_each_other_on():
    scheduler = FlushScheduler(TICK_SECONDS)
    room = await busy(scheduler)
    scheduler.request_flush(room)
    scheduler.flush_with_neighbours(room)
    assert len(room.turns) == 1
    assert room.flush_at != NEVER


async def test_a_room_with_nothing_to_send_joins_no_turn():
    scheduler, room = FlushScheduler(TICK_SECONDS), Room()
    scheduler.flush_with_neighbours(room)
    assert room.turns == []


async def test_a_delivery_comes_after_the_other_gateways_had_time_to_answer():
    scheduler, room = FlushScheduler(TICK_SECONDS), Room()
    asked = asyncio.get_running_loop().time()
    scheduler.request_delivery(room)
    await room.next()
    assert room.deliveries[-1] - asked >= SLOT_SECONDS - 0.001


async def test_a_room_that_has_delivered_by_itself_is_not_asked_to_once_more():
    scheduler, room, other = FlushScheduler(TICK_SECONDS), Room(), Room()
    scheduler.request_delivery(room)
    room.deliver_at = NEVER
    scheduler.request_delivery(other)
    await other.next()
    assert not room.deliveries


@pytest.mark.parametrize("held_up_ticks", [0.8, 1.1, 1.4, 2.0, 3.0])
async def test_who_asks_after_the_loop_was_held_up_and_before_the_wheel_turns_is_not_forgotten(held_up_ticks: float):
    scheduler = FlushScheduler(TICK_SECONDS)
    room, later = await busy(scheduler), Room()
    scheduler.request_flush(room)
    time.sleep(held_up_ticks * TICK_SECONDS)  # noqa: ASYNC251 - the loop is held up on purpose
    scheduler.flush_with_neighbours(room)
    scheduler.request_flush(room)
    scheduler.request_delivery(later)
    await eventually(lambda: room.flush_at == NEVER, "it had its flush")
    await eventually(lambda: later.deliveries, "it was delivered")
    assert len(room.turns) == 3


async def test_nobody_is_forgotten_when_the_loop_is_later_than_the_wheel_is_long():
    scheduler = FlushScheduler(TICK_SECONDS)
    rooms = [await busy(scheduler) for _ in range(3)]
    late = Room()
    for room in rooms:
        scheduler.request_flush(room)
    scheduler.request_delivery(late)
    time.sleep(3 * TICK_SECONDS)  # noqa: ASYNC251 - the loop is held up on purpose
    await eventually(lambda: late.deliveries, "it was delivered")
    await eventually(lambda: [len(room.turns) for room in rooms] == [2, 2, 2], "each had its flush")
    scheduler.request_flush(await busy(scheduler))
