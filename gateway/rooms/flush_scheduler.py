"""When rooms send what their members' cursors did: a timer wheel that all rooms share.

A room that has been quiet for a tick has its turn at once. After that a turn comes a tick after the first move that it
has not sent yet: nothing waits longer than that, and all that comes meanwhile goes with it. Rooms whose time comes
within the same slot of the wheel share a wake-up.

Gateways of one room take their turns together: the first one's batch gives the others theirs. What they answer is
delivered with what happened here, in one write, as soon as all have answered; it is waited for four slots.
"""

import asyncio
from typing import Protocol

_SLOTS = 16
"""Of a tick."""
_RING = 32
_ANSWERED_WITHIN = 4
"""Slots in which other gateways answer a turn if they have anything to say: there and back, through two paced loops."""
NEVER = -1


class Flushable(Protocol):
    flush_at: int
    """Position of the wheel at which the room has its turn; set here, `NEVER` while it has asked for none."""
    flushed_at: float
    """Event loop time of the last turn; set here."""
    deliver_at: int
    """Position of the wheel at which the room delivers; set here, `NEVER` while it has not asked or by the room itself,
    when it has delivered already."""

    def flush(self) -> None:
        """Must not raise. Does nothing when there is nothing to send."""

    def deliver(self) -> None:
        """Must not raise."""


class FlushScheduler:
    def __init__(self, tick_seconds: float) -> None:
        self._tick_seconds = tick_seconds
        self._width_seconds = tick_seconds / _SLOTS
        self._flushing: list[list[Flushable]] = [[] for _ in range(_RING)]
        self._delivering: list[list[Flushable]] = [[] for _ in range(_RING)]
        self._count = 0
        self._position = 0
        """The last slot that was seen to."""
        self._armed = False

    def ask(self, room: Flushable) -> None:
        """The room wants a turn. To be called once per turn."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - room.flushed_at >= self._tick_seconds:
            room.flushed_at = now
            loop.call_soon(room.flush)
            return
        room.flush_at = int((now + self._tick_seconds) / self._width_seconds) + 1
        self._flushing[room.flush_at % _RING].append(room)
        self._wait(now)

    def join(self, room: Flushable) -> None:
        """Another gateway has had its turn for the room: one that waits here comes now, unless one has just been."""
        now = asyncio.get_running_loop().time()
        if room.flush_at != NEVER and now - room.flushed_at >= self._tick_seconds / 2:
            self._flush(room, now)

    def ask_delivery(self, room: Flushable) -> None:
        """The room wants to deliver when other gateways have had time to answer."""
        if room.deliver_at != NEVER:
            return
        now = asyncio.get_running_loop().time()
        room.deliver_at = int(now / self._width_seconds) + _ANSWERED_WITHIN
        self._delivering[room.deliver_at % _RING].append(room)
        self._wait(now)

    def _wait(self, now: float) -> None:
        self._count += 1
        if not self._armed:
            self._armed = True
            self._position = int(now / self._width_seconds)
            self._schedule()

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_at((self._position + 1) * self._width_seconds, self._advance)

    def _advance(self) -> None:
        """See to all slots whose time has come, each once however late we are."""
        now = asyncio.get_running_loop().time()
        reached = max(int(now / self._width_seconds), self._position + 1)
        for position in range(max(self._position + 1, reached - _RING + 1), reached + 1):
            flushing, delivering = self._take(self._flushing, position), self._take(self._delivering, position)
            for room in flushing:
                # One that joined the turn of another gateway since it asked may have asked anew.
                if NEVER < room.flush_at <= position:
                    self._flush(room, now)
                elif self._is_for_later(room.flush_at, position):
                    self._put(self._flushing, room, position)
            for room in delivering:
                # One that has had its answers has delivered, and may have asked anew.
                if NEVER < room.deliver_at <= position:
                    room.deliver_at = NEVER
                    room.deliver()
                elif self._is_for_later(room.deliver_at, position):
                    self._put(self._delivering, room, position)
        self._position = reached
        self._armed = self._count > 0
        if self._armed:
            self._schedule()

    @staticmethod
    def _is_for_later(at: int, position: int) -> bool:
        """Its slot is another round of the ring away: it asked while we were late, and is here for the first time."""
        return at > position and at % _RING == position % _RING

    def _put(self, ring: list[list[Flushable]], room: Flushable, position: int) -> None:
        slot = ring[position % _RING]
        if all(room is not other for other in slot):
            slot.append(room)
            self._count += 1

    def _take(self, ring: list[list[Flushable]], position: int) -> list[Flushable]:
        rooms, ring[position % _RING] = ring[position % _RING], []
        self._count -= len(rooms)
        return rooms

    @staticmethod
    def _flush(room: Flushable, now: float) -> None:
        room.flush_at = NEVER
        room.flushed_at = now
        room.flush()
