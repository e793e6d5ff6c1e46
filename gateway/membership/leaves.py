"""Ends memberships: on this gateway at once, and in presence as soon as it answers.

Each membership has an id, so a leave that reaches presence late, or twice, cannot end the next membership. Still, a
connection's next join of a room waits until presence has confirmed its leave, so that other members see both.
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
from studyroom.shared.chassis.sharing import result_of
from studyroom.shared.contract.ids import ConnectionId, MembershipId, RoomId, connection_of
from studyroom.shared.contract.presence import LeaveRequest, RoomConnection
from studyroom.shared.contract.subjects import shard_of

log = logs.get(__name__)

_CLEAN_KEPT = 4096
"""How many clean leaves to remember. If presence carries out a join after its clean leave, the leave that undoes it is
clean too."""


class Leaves:
    def __init__(self, presence: PresenceClient, pending: PendingWork, rooms: Rooms, authors: Authors) -> None:
        self._presence = presence
        self._pending = pending
        self._rooms = rooms
        self._authors = authors
        self._finishing: dict[Connection, asyncio.Task[None]] = {}
        """Authors that have left a room, and still get their own messages from there."""
        self._unsent = Counter[RoomConnection]()
        """Leaves that presence has not confirmed."""
        self._joining: set[RoomConnection] = set()
        self._clean: dict[MembershipId, None] = {}
        """Memberships that ended recently without a grace period, oldest first."""
        self._last: dict[tuple[ConnectionId, RoomId], asyncio.Task[None]] = {}
        """The task that sends the last leave of a connection from a room."""

    # --- on this gateway ----------------------------------------------------------------------------------

    def leave(self, connection: Connection, room: Room, *, lost: bool, at_once: bool = True) -> None:
        """Take the connection out of its room, and send presence the leave.

        `lost`: the connection was lost, so its user stays a member for the grace period. `at_once`: False to send an
        author events until it has its own messages.
        """
        if not at_once and self._authors.is_waiting(connection, room):
            task = self._finishing[connection] = self._pending.begin("finish", self._finish(connection, room))
            task.add_done_callback(lambda _: self._finishing.pop(connection, None))
        else:
            self._authors.forget(connection)
            room.dismiss(connection)
            self._pending.begin("let go", self._rooms.leave(room))
        self.send(connection.membership_in(room.id), lost=lost, keep_seconds=connection.keep_seconds)

    async def finished(self, connection: Connection) -> None:
        """Returns when the connection gets no events of its last room any more."""
        if connection in self._finishing:
            await result_of(self._finishing[connection])

    async def _finish(self, connection: Connection, room: Room) -> None:
        try:
            await self._authors.finished(connection, room)
        finally:
            self._authors.forget(connection)
            room.dismiss(connection)
            await self._rooms.leave(room)

    # --- in presence --------------------------------------------------------------------------------------

    def __contains__(self, membership: RoomConnection) -> bool:
        """Whether presence will still get a leave for this membership if it has ended."""
        return membership in self._unsent or membership in self._joining

    @contextmanager
    def joining(self, membership: RoomConnection) -> Iterator[None]:
        """A join is in progress during the block. If it fails, its own code sends the leave."""
        self._joining.add(membership)
        try:
            yield
        finally:
            self._joining.discard(membership)

    def joining_in(self, shard: int) -> list[RoomConnection]:
        """The memberships of a shard whose joins are in progress."""
        return [membership for membership in self._joining if shard_of(membership.room) == shard]

    def in_shard(self, shard: int) -> set[MembershipId]:
        """The ended memberships whose leaves presence has not confirmed."""
        return {membership.connection for membership in self._unsent if shard_of(membership.room) == shard}

    async def sent(self, connection: Connection, room: RoomId) -> None:
        """Returns when presence has confirmed the connection's last leave of the room."""
        last = self._last.get((connection.id, room))
        if last is not None:
            await result_of(last)

    def send(self, membership: RoomConnection, *, lost: bool, keep_seconds: int = 0) -> None:
        """Send presence a leave until it answers.

        `lost`: the user stays a member for the grace period, and for at least `keep_seconds`, unless the membership
        ended before without a grace period.
        """
        if not lost:
            self._clean[membership.connection] = None
            if len(self._clean) > _CLEAN_KEPT:
                del self._clean[next(iter(self._clean))]
        lost = lost and membership.connection not in self._clean
        self._unsent[membership] += 1
        key = connection_of(membership.connection), membership.room
        task = self._last[key] = self._pending.begin(
            "leave", self._leave(membership, lost=lost, keep_seconds=keep_seconds)
        )

        def ended(_task: asyncio.Task[None]) -> None:
            self._unsent[membership] -= 1
            if not self._unsent[membership]:
                del self._unsent[membership]
            if self._last.get(key) is task:
                del self._last[key]

        task.add_done_callback(ended)

    async def _leave(self, membership: RoomConnection, *, lost: bool, keep_seconds: int) -> None:
        request = LeaveRequest.model_construct(
            room=membership.room,
            user=membership.user,
            connection=membership.connection,
            lost=lost,
            keep_seconds=keep_seconds,
        )
        try:
            await self._presence.leave(request)
        except PresenceRefused as error:
            log.error("presence refused a leave", error=str(error), room=membership.room)
