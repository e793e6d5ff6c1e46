"""When rooms flush the cursors and typing notices of their members: a timer wheel that all rooms share.

A room that has been quiet for a tick flushes at once. Otherwise it flushes one tick after the first notice that waits,
and everything that came meanwhile goes with it. Rooms that are due within the same slot of the wheel share a wake-up.

The gateways of one room flush together: a batch of the first makes the others flush. A gateway delivers their batches
and its own notices in one write, as soon as all batches have come and after four slots at the latest.
"""

import asyncio
from typing import Protocol

_SLOTS_PER_TICK = 16
_RING = 32
_DELIVER_AFTER_SLOTS = 4
"""Within this time the batches of other gateways come: there and back, through two paced event loops."""
NEVER = -1


class Flushable(Protocol):
    flush_at: int
    """Position of the wheel at which the room flushes; `NEVER` if it has requested no flush. The scheduler sets it."""
    flushed_at: float
    """Event loop time of the last flush. The scheduler sets it."""
    deliver_at: int
    """Position of the wheel at which the room delivers; `NEVER` if it has requested no delivery. The scheduler sets it,
    and the room resets it when it delivers earlier."""

    def flush(self) -> None:
        """Must not raise. Does nothing if there is nothing to send."""

    def deliver(self) -> None:
        """Must not raise."""


class FlushScheduler:
    def __init__(self, tick_seconds: float) -> None:
        self._tick_seconds = tick_seconds
        self._width_seconds = tick_seconds / _SLOTS_PER_TICK
        self._flushing: list[list[Flushable]] = [[] for _ in range(_RING)]
        self._delivering: list[list[Flushable]] = [[] for _ in range(_RING)]
        self._count = 0
        self._position = 0
        """The last slot that was handled."""
        self._armed = False

    def request_flush(self, room: Flushable) -> None:
        """Flush the room now or within a tick. The room must call this once per flush."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - room.flushed_at >= self._tick_seconds:
            room.flushed_at = now
            loop.call_soon(room.flush)
            return
        room.flush_at = int((now + self._tick_seconds) / self._width_seconds) + 1
        self._flushing[room.flush_at % _RING].append(room)
        self._wait(now)

    def flush_with_neighbours(self, room: Flushable) -> None:
        """Another gateway has flushed the room: if a flush is pending here, do it now, unless the last was just now."""
        now = asyncio.get_running_loop().time()
        if room.flush_at != NEVER and now - room.flushed_at >= self._tick_seconds / 2:
            self._flush(room, now)

    def request_delivery(self, room: Flushable) -> None:
        """Let the room deliver when other gateways have had time to send their batches."""
        if room.deliver_at != NEVER:
            return
        now = asyncio.get_running_loop().time()
        room.deliver_at = int(now / self._width_seconds) + _DELIVER_AFTER_SLOTS
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
        """Handle all slots that are due, each once however late this call is."""
        now = asyncio.get_running_loop().time()
        reached = max(int(now / self._width_seconds), self._position + 1)
        for position in range(max(self._position + 1, reached - _RING + 1), reached + 1):
            flushing, delivering = self._take(self._flushing, position), self._take(self._delivering, position)
            for room in flushing:
                # A room that flushed early with another gateway may have requested another flush.
                if NEVER < room.flush_at <= position:
                    self._flush(room, now)
                elif self._is_for_later(room.flush_at, position):
                    self._put(self._flushing, room, position)
            for room in delivering:
                # A room that got all batches has delivered, and may have requested another delivery.
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
        """Whether the slot comes in a later round of the ring. The room asked for it while slots were late."""
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
