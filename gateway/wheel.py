"""When rooms send what their members' cursors did: a timer wheel that all rooms share.

A room that has been quiet for a tick has its turn at once; one that is busy has one turn per tick. Rooms are spread
over the slots of a tick, so that their work does not come all at the same moment; those of one slot share a wake-up.

The slots follow the wall clock, so that the gateways of a room have its turn at the same time: what they tell each
other then arrives within one slot, and each member gets it in one write with what happened here. Where the clocks
differ this costs a write more, and nothing else.
"""

import asyncio
import time
from typing import Protocol

_SLOTS = 8


class Turning(Protocol):
    slot: int
    """Any number; those with the same remainder share a slot."""
    turned_at: float
    """Event loop time of the last turn; set here."""

    def turn(self) -> None:
        """Must not raise."""

    def deliver(self) -> None:
        """Must not raise."""


class Wheel:
    def __init__(self, tick_seconds: float) -> None:
        self._tick_seconds = tick_seconds
        self._width_seconds = tick_seconds / _SLOTS
        self._waiting: list[list[Turning]] = [[] for _ in range(_SLOTS)]
        self._delivering: list[Turning] = []
        self._count = 0
        self._position = 0
        self._armed = False

    def ask(self, room: Turning) -> None:
        """The room wants a turn. To be called once per turn."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - room.turned_at >= self._tick_seconds:
            room.turned_at = now
            loop.call_soon(room.turn)
            return
        self._waiting[room.slot % _SLOTS].append(room)
        self._count += 1
        self._arm()

    def ask_delivery(self, room: Turning) -> None:
        """The room wants to deliver when the slot is over. To be called once per delivery."""
        self._delivering.append(room)
        self._arm()

    def _arm(self) -> None:
        if self._armed:
            return
        self._armed = True
        self._position = int(time.time() / self._width_seconds)
        self._schedule()

    def _schedule(self) -> None:
        """Also when the wall clock was set back the next slot comes after one slot's time at the latest."""
        delay = (self._position + 1) * self._width_seconds - time.time()
        asyncio.get_running_loop().call_later(min(max(0.0, delay), self._width_seconds), self._advance)

    def _advance(self) -> None:
        """Give their turn to all slots whose time has come, each once however late we are."""
        now = asyncio.get_running_loop().time()
        delivering, self._delivering = self._delivering, []
        position = int(time.time() / self._width_seconds)
        reached = max(position, self._position + 1)
        for passed in range(max(self._position + 1, reached - _SLOTS + 1), reached + 1):
            rooms, self._waiting[passed % _SLOTS] = self._waiting[passed % _SLOTS], []
            self._count -= len(rooms)
            for room in rooms:
                room.turned_at = now
                room.turn()
        for room in delivering:
            room.deliver()
        self._armed = bool(self._count or self._delivering)
        if self._armed:
            self._position = reached if position >= self._position else position
            self._schedule()
