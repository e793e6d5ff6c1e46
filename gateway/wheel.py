"""When rooms send what their members' cursors did: a timer wheel that all rooms share.

A room that has been quiet for a tick has its turn at once. After that a turn comes a tick after the first move that it
has not sent yet: nothing waits longer than that, and all that comes meanwhile goes with it. Rooms whose time comes
within the same slot of the wheel share a wake-up.

A room that has members on other gateways has its turn at a time of its own in each tick instead, by the wall clock,
so that all its gateways have it at once. What they tell each other then arrives within two slots, and each member gets
it in one write with what happened here. Where the clocks differ this costs a write more, and nothing else.
"""

import asyncio
import time
from typing import Protocol

_SLOTS = 16
"""Of a tick."""
_RING = 32
_DELIVERED_AFTER = 2
"""Slots, so that what other gateways have to say to a turn is delivered with it."""


class Turning(Protocol):
    slot: int
    """Any number, the same on all gateways."""
    turned_at: float
    """Event loop time of the last turn; set here."""

    def turn(self) -> None:
        """Must not raise. Does nothing when there is nothing to send."""

    def deliver(self) -> None:
        """Must not raise."""


class Wheel:
    def __init__(self, tick_seconds: float) -> None:
        self._tick_seconds = tick_seconds
        self._width_seconds = tick_seconds / _SLOTS
        self._turning: list[list[Turning]] = [[] for _ in range(_RING)]
        self._delivering: list[list[Turning]] = [[] for _ in range(_RING)]
        self._count = 0
        self._position = 0
        """The last slot that was seen to."""
        self._armed = False
        self._wall_offset_seconds = 0.0
        """From event loop time to the wall clock. As it was when the wheel began to turn, so that it turns evenly."""

    def ask(self, room: Turning, *, shared: bool) -> None:
        """The room wants a turn. To be called once per turn. `shared`: it has members on other gateways."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - room.turned_at >= self._tick_seconds:
            room.turned_at = now
            loop.call_soon(room.turn)
            return
        position = self._wake(now)
        wait = (room.slot - position - 1) % _SLOTS if shared else _SLOTS
        self._count += 1
        self._turning[(position + 1 + wait) % _RING].append(room)

    def ask_delivery(self, room: Turning) -> None:
        """The room wants to deliver soon. To be called once per delivery."""
        now = asyncio.get_running_loop().time()
        position = self._wake(now)
        self._count += 1
        self._delivering[(position + _DELIVERED_AFTER) % _RING].append(room)

    def _position_at(self, now: float) -> int:
        return int((now + self._wall_offset_seconds) / self._width_seconds)

    def _wake(self, now: float) -> int:
        """Let the wheel turn. Returns the slot in which we are; it has been seen to."""
        if not self._armed:
            self._armed = True
            self._wall_offset_seconds = time.time() - now
            self._position = self._position_at(now)
            self._schedule()
        # A timer may ring a little early, and the slot that it rang for is over then.
        return max(self._position, self._position_at(now))

    def _schedule(self) -> None:
        at = (self._position + 1) * self._width_seconds - self._wall_offset_seconds
        asyncio.get_running_loop().call_at(at, self._advance)

    def _advance(self) -> None:
        """See to all slots whose time has come, each once however late we are."""
        now = asyncio.get_running_loop().time()
        reached = max(self._position_at(now), self._position + 1)
        for position in range(max(self._position + 1, reached - _RING + 1), reached + 1):
            turning, delivering = self._take(self._turning, position), self._take(self._delivering, position)
            for room in turning:
                room.turned_at = now
                room.turn()
            for room in delivering:
                room.deliver()
        self._position = reached
        self._armed = self._count > 0
        if self._armed:
            self._schedule()

    def _take(self, ring: list[list[Turning]], position: int) -> list[Turning]:
        rooms, ring[position % _RING] = ring[position % _RING], []
        self._count -= len(rooms)
        return rooms
