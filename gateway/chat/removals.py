"""Finding stored chat that was removed under hosted rooms: an operator has purged them.

Messages that go because they are old, too many or too much go oldest first and are no loss: newcomers are just not
shown them any more. Of a room that was purged members are told to begin anew, so that everybody sees the same.
"""

import asyncio
from collections.abc import Callable, Container
from datetime import UTC, datetime

from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms

_ROOMS_MAX = 256
"""Rooms that are looked at in one comparison, beside those that are known to lack something."""
_AT_ONCE = 16
_IN_FLIGHT_SECONDS = 0.3
"""What a moderator has deleted may be gone this long before we hear of it."""
_CLOCKS_SECONDS = 60.0
"""By how much our clock and NATS's may differ when it is judged whether a message has expired."""


class Removals:
    def __init__(self, rooms: Rooms, stream: ChatStream, removed: Callable[[Room], None]) -> None:
        """`removed` is called for each room of which messages were removed that newcomers would still be shown."""
        self._rooms = rooms
        self._stream = stream
        self._removed = removed
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._complete_at: dict[Room, int] = {}
        """How many messages had been removed from the stream when all that a room remembers was stored."""

    async def look(self, shorter: set[Room], *, but: Container[Room]) -> None:
        """To be called now and then, when the terms of the stream were just learned. Raises BusError.

        `shorter`: rooms that some replica says have lost their newest message: all of these are looked at, and of the
        others some at a time, if anything was removed from the stream since. `but`: those to leave alone now.
        """
        removed = self._stream.terms.removed
        known = {room: seen for room, seen in self._complete_at.items() if self._is_hosted(room)}
        others = [room for room in self._rooms if room not in shorter and known.get(room) != removed]
        others.sort(key=lambda room: known.get(room, -1))
        rooms = [room for room in (*shorter, *others[:_ROOMS_MAX]) if room not in but]
        found = await asyncio.gather(*map(self._first_left, rooms))
        lacking = [(room, first) for room, first in zip(rooms, found, strict=True) if first is not None]
        if lacking:
            await asyncio.sleep(_IN_FLIGHT_SECONDS)
            await self._stream.learn()
        for room, first in lacking:
            if not room.history.passed(await self._stream.last(room.id) or 0):
                continue  # a tombstone may be on its way
            gone = room.history.before(first)
            if not gone or room in but or not self._is_hosted(room):
                continue
            if self._has_expired(room, gone[-1], first):
                room.history.drop_before(first)
            else:
                self._removed(room)
        self._complete_at = known | dict.fromkeys(rooms, removed)

    def _is_hosted(self, room: Room) -> bool:
        return self._rooms.get(room.id) is room

    async def _first_left(self, room: Room) -> int | None:
        """The first sequence that is still stored of what the room remembers; None when that is the oldest of it.

        Raises BusError.
        """
        oldest = room.history.oldest_stored
        if oldest is None:
            return None
        async with self._slots:
            first = await self._stream.first(room.id, oldest.sequence)
        if first is None:
            first = room.history.newest_sequence + 1
        return first if first > oldest.sequence else None

    def _has_expired(self, room: Room, gone: Stored, first: int) -> bool:
        """The message has gone as the oldest ones do, by age, number or size. `first`: of those that are left."""
        terms = self._stream.terms
        if terms.max_age_seconds > 0:
            age = (datetime.now(UTC) - datetime.fromisoformat(gone.time)).total_seconds()
            if age >= terms.max_age_seconds - min(_CLOCKS_SECONDS, terms.max_age_seconds / 10):
                return True
        if terms.full and gone.sequence < terms.first:
            return True
        left = room.history.after(first - 1)
        had = len(left) + sum(stored.deletes > 0 for stored in left)  # what was deleted had a place, too
        return 0 < terms.max_messages_per_room <= had
