"""Taking connections out of their rooms, here at once and at presence as soon as it answers.

Each membership has an id, so a leave that reaches presence late, or twice, cannot end the next membership. Still, a
connection's next join of a room waits until presence has confirmed its leave, so that the others see both.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from studyroom.gateway.chat.authors import Authors
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.membership.pending import PendingWork
from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.shared.chassis import logs
from studyroom.shared.contract.ids import ConnectionId, MembershipId, RoomId, connection_of
from studyroom.shared.contract.presence import LeaveRequest, RoomConnection
from studyroom.shared.contract.subjects import shard_of

log = logs.get(__name__)

_CLEAN_KEPT = 4096
"""How many clean leaves are remembered. A join that presence carries out after its clean leave is undone as cleanly."""


class Leaves:
    def __init__(self, presence: PresenceClient, pending: PendingWork, rooms: Rooms, authors: Authors) -> None:
        self._presence = presence
        self._pending = pending
        self._rooms = rooms
        self._authors = authors
        self._finishing: dict[Connection, asyncio.Task[None]] = {}
        """Authors that have left a room and still get their own messages from there."""
        self._unsent = Counter[RoomConnection]()
        """Leaves that presence has not confirmed."""
        self._joining: set[RoomConnection] = set()
        self._clean: dict[MembershipId, None] = {}
        """Memberships that ended for good recently, oldest first."""
        self._last: dict[tuple[ConnectionId, RoomId], asyncio.Task[None]] = {}

    # --- here ---------------------------------------------------------------------------------------------

    def leave(self, connection: Connection, room: Room, *, lost: bool, at_once: bool = True) -> None:
        """Take the connection out of its room, and send presence the leave.

        `lost`: the connection was lost, so its user keeps the place for the grace period. Not `at_once`: an author gets
        events until it has seen its own messages.
        """
        if not at_once and self._authors.is_waiting(connection, room):
            task = self._finishing[connection] = self._pending.begin("finish", self._finish(connection, room))
            task.add_done_callback(lambda _: self._finishing.pop(connection, None))
        else:
            self._authors.forget(connection)
            room.dismiss(connection)
            self._pending.begin("let go", self._rooms.leave(room))
        self.send(connection.place(room.id), lost=lost, keep_seconds=connection.keep_seconds)

    async def finished(self, connection: Connection) -> None:
        """Returns when the connection gets nothing more from the room that it left last."""
        if connection in self._finishing:
            await asyncio.shield(self._finishing[connection])

    async def _finish(self, connection: Connection, room: Room) -> None:
        try:
            await self._authors.finished(connection, room)
        finally:
            self._authors.forget(connection)
            room.dismiss(connection)
            await self._rooms.leave(room)

    # --- at presence --------------------------------------------------------------------------------------

    def __contains__(self, place: RoomConnection) -> bool:
        """Presence will still get the leave of this place if nobody is there any more."""
        return place in self._unsent or place in self._joining

    @contextmanager
    def joining(self, place: RoomConnection) -> Iterator[None]:
        """A join is under way. If it fails, its own code sends the leave."""
        self._joining.add(place)
        try:
            yield
        finally:
            self._joining.discard(place)

    def in_shard(self, shard: int) -> set[MembershipId]:
        """Memberships that have ended, and whose leaves presence has not confirmed."""
        return {place.connection for place in self._unsent if shard_of(place.room) == shard}

    async def sent(self, connection: Connection, room: RoomId) -> None:
        """Returns when presence has confirmed the connection's last leave of the room."""
        last = self._last.get((connection.id, room))
        if last is not None:
            await asyncio.shield(last)

    def send(self, place: RoomConnection, *, lost: bool, keep_seconds: int = 0) -> None:
        """Send presence a leave until it answers.

        `lost`: the user keeps the place for the grace period, and for at least `keep_seconds`; but not if the same
        membership has ended for good before.
        """
        if not lost:
            self._clean[place.connection] = None
            if len(self._clean) > _CLEAN_KEPT:
                del self._clean[next(iter(self._clean))]
        lost = lost and place.connection not in self._clean
        self._unsent[place] += 1
        key = connection_of(place.connection), place.room
        task = self._last[key] = self._pending.begin("leave", self._leave(place, lost=lost, keep_seconds=keep_seconds))

        def ended(_task: asyncio.Task[None]) -> None:
            self._unsent[place] -= 1
            if not self._unsent[place]:
                del self._unsent[place]
            if self._last.get(key) is task:
                del self._last[key]

        task.add_done_callback(ended)

    async def _leave(self, place: RoomConnection, *, lost: bool, keep_seconds: int) -> None:
        request = LeaveRequest.model_construct(
            room=place.room, user=place.user, connection=place.connection, lost=lost, keep_seconds=keep_seconds
        )
        try:
            await self._presence.leave(request)
        except PresenceRefused as error:
            log.error("presence refused a leave", error=str(error), room=place.room)
