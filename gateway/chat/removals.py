"""Finds hosted rooms whose stored chat an operator has purged.

The limits of the stream remove the oldest messages first. Such messages do not count, and only new members miss them.
Members of a purged room get a `ChatReset`, so that everybody sees the same.
"""

import asyncio
from collections.abc import Callable, Container
from datetime import UTC, datetime

from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import HostedRooms

_ROOMS_MAX = 256
"""How many rooms one comparison looks at, besides those that are known to lack messages."""
_CONCURRENCY = 16
_IN_FLIGHT_SECONDS = 0.3
"""A message that a moderator deletes may be gone this long before its tombstone arrives here."""
_CLOCK_DIFFERENCE_SECONDS = 60.0
"""The clocks of this gateway and of NATS may differ by this much when a message seems to have expired."""


class Removals:
    def __init__(self, rooms: HostedRooms, stream: ChatStream, removed: Callable[[Room], None]) -> None:
        """Calls `removed` for each purged room: one that remembers messages which were removed before they expired."""
        self._rooms = rooms
        self._stream = stream
        self._removed = removed
        self._slots = asyncio.Semaphore(_CONCURRENCY)
        self._complete_at: dict[Room, int] = {}
        """The stream's count of removed messages when all messages that a room remembers were still stored; -1 where
        that is unknown."""
        self._removed_before = -1
        """The count of removed messages at the last look."""

    async def look(self, shorter: set[Room], *, but: Container[Room]) -> None:
        """Look for purged rooms. Call it now and then, just after the terms were learned. Raises BusError.

        `shorter`: rooms that lack their newest message on some replica. This looks at all of them, and at some of the
        others if any message was removed from the stream since. `but`: rooms to skip.
        """
        removed = self._stream.terms.removed
        # A room that is hosted since the last look has read its messages since then.
        of_new = removed if removed == self._removed_before else -1
        known = {room: self._complete_at.get(room, of_new) for room in self._rooms}
        others = [room for room in self._rooms if room not in shorter and known[room] != removed]
        others.sort(key=known.__getitem__)
        rooms = [room for room in (*shorter, *others[:_ROOMS_MAX]) if room not in but]
        found = await asyncio.gather(*map(self._first_left, rooms))
        lacking = [(room, first) for room, first in zip(rooms, found, strict=True) if first is not None]
        if lacking:
            await asyncio.sleep(_IN_FLIGHT_SECONDS)
            await self._stream.learn()
        for room, first in lacking:
            if not room.history.passed(await self._stream.last(room.id) or 0):
                continue  # a tombstone may be in flight
            gone = room.history.before(first)
            if not gone or room in but or not self._is_hosted(room):
                continue
            if self._has_expired(room, gone[-1], first):
                room.history.drop_before(first)
            else:
                self._removed(room)
        self._complete_at = known | dict.fromkeys(rooms, removed)
        self._removed_before = removed

    def _is_hosted(self, room: Room) -> bool:
        return self._rooms.get(room.id) is room

    async def _first_left(self, room: Room) -> int | None:
        """The first remembered sequence that is still stored; None if no remembered message is missing.

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
        """Whether a limit of the stream removed the message, by age, number or size.

        `first`: the first sequence that is left.
        """
        terms = self._stream.terms
        if terms.max_age_seconds > 0:
            age = (datetime.now(UTC) - datetime.fromisoformat(gone.time)).total_seconds()
            if age >= terms.max_age_seconds - min(_CLOCK_DIFFERENCE_SECONDS, terms.max_age_seconds / 10):
                return True
        if terms.full and gone.sequence < terms.first:
            return True
        left = room.history.after(first - 1)
        count = len(left) + sum(stored.deletes > 0 for stored in left)  # deleted messages counted for the limit too
        return 0 < terms.max_messages_per_room <= count
