"""Telling presence who has left, until it has heard it.

Each stay of a connection in a room has a name of its own, so a leave that reaches presence late, or twice, cannot end
the next stay. All the same a connection's next join of a room waits until presence has confirmed its leave: the others
see both.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from studyroom.gateway.membership.pending import PendingWork
from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.shared.chassis import logs
from studyroom.shared.contract.ids import ConnectionId, MembershipId, RoomId, connection_of
from studyroom.shared.contract.presence import LeaveRequest, RoomConnection
from studyroom.shared.contract.subjects import shard_of

log = logs.get(__name__)

_CLEAN_KEPT = 4096
"""A join that is carried out late, after its leave, is undone as cleanly for so many later ones."""


class Leaves:
    def __init__(self, presence: PresenceClient, pending: PendingWork) -> None:
        self._presence = presence
        self._pending = pending
        self._unsent = Counter[RoomConnection]()
        """Leaves that presence may not have been told of yet."""
        self._joining: set[RoomConnection] = set()
        self._clean: dict[MembershipId, None] = {}
        """Stays that ended for good of late, oldest first."""
        self._last: dict[tuple[ConnectionId, RoomId], asyncio.Task[None]] = {}

    def __contains__(self, place: RoomConnection) -> bool:
        """Whether presence will yet be told when nobody is there any more."""
        return place in self._unsent or place in self._joining

    @contextmanager
    def joining(self, place: RoomConnection) -> Iterator[None]:
        """A join is under way: should it fail, whoever began it says so when it ends."""
        self._joining.add(place)
        try:
            yield
        finally:
            self._joining.discard(place)

    def in_shard(self, shard: int) -> set[MembershipId]:
        """Stays that have ended, and of which presence may not have been told yet."""
        return {place.connection for place in self._unsent if shard_of(place.room) == shard}

    async def sent(self, connection: ConnectionId, room: RoomId) -> None:
        """Returns when presence has heard of the connection's last leave of the room."""
        last = self._last.get((connection, room))
        if last is not None:
            await asyncio.shield(last)

    def send(self, place: RoomConnection, *, lost: bool, keep_seconds: int = 0) -> None:
        """`lost`: its user keeps the place for the grace period, and for `keep_seconds` at least; but not when the same
        stay has ended for good before."""
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
        """Asks until presence answers."""
        request = LeaveRequest.model_construct(
            room=place.room, user=place.user, connection=place.connection, lost=lost, keep_seconds=keep_seconds
        )
        try:
            await self._presence.leave(request)
        except PresenceRefused as error:
            log.error("a leave was refused", error=str(error), room=place.room)
