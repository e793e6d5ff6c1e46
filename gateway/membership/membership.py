"""Joining and leaving rooms, on behalf of connections."""

import asyncio
import time
from collections.abc import Callable

from studyroom.gateway.chat.authors import Authors
from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.resume import Resumes
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.membership.join_barrier import JoinBarrier, MembershipEnded
from studyroom.gateway.membership.lanes import Patience
from studyroom.gateway.membership.leaves import Leaves
from studyroom.gateway.membership.pending import PendingWork
from studyroom.gateway.membership.presence_client import MembersStorageFull, PresenceClient, PresenceRefused, RoomFull
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.history import Resumption
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError, SubscriptionRefused
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.messages import JoinRoomPayload
from studyroom.shared.contract.presence import RoomConnection
from studyroom.shared.contract.subjects import presence_join, shard_of

log = logs.get(__name__)

_HISTORY_PATIENCE = 0.6
"""Share of the join deadline after which a client that does not resume is let in without history."""


class Barred(Exception):
    """The user may not enter the room."""


class Membership:
    def __init__(
        self,
        rooms: Rooms,
        presence: PresenceClient,
        join_barrier: JoinBarrier,
        leaves: Leaves,
        pending: PendingWork,
        metrics: GatewayMetrics,
        backfill: Backfill,
        resumes: Resumes,
        *,
        authors: Authors,
        is_banned: Callable[[UserId, RoomId], bool],
        join_deadline_seconds: float,
    ) -> None:
        self._rooms = rooms
        self._presence = presence
        self._join_barrier = join_barrier
        self._leaves = leaves
        self._pending = pending
        self._metrics = metrics
        self._backfill = backfill
        self._resumes = resumes
        self._authors = authors
        self._finishing: dict[Connection, asyncio.Task[None]] = {}
        """Authors that have left a room and are still sent what they said there."""
        self._is_banned = is_banned
        self._join_deadline_seconds = join_deadline_seconds

    def join(self, connection: Connection, join: JoinRoomPayload) -> None:
        """Begin a join; the connection is told how it ends."""
        self._pending.begin("join", self._begin(connection, join))

    def leave(self, connection: Connection, room: Room, *, lost: bool, at_once: bool = True) -> None:
        """Take the connection out of its room: at once for its events, as soon as presence answers for the others.

        `lost`: the connection was lost; its user keeps the place for the grace period. Not `at_once`: an author gets
        the events until it has seen what it has said; its next join is answered after that.
        """
        if not at_once and self._authors.is_waiting(connection, room):
            task = self._finishing[connection] = self._pending.begin("finish", self._finish(connection, room))
            task.add_done_callback(lambda _: self._finishing.pop(connection, None))
        else:
            self._authors.forget(connection)
            room.dismiss(connection)
            self._pending.begin("let go", self._rooms.leave(room))
        self._leaves.send(connection.place(room.id), lost=lost, keep_seconds=connection.keep_seconds)

    async def _finish(self, connection: Connection, room: Room) -> None:
        try:
            await self._authors.finished(connection, room)
        finally:
            self._authors.forget(connection)
            room.dismiss(connection)
            await self._rooms.leave(room)

    async def _begin(self, connection: Connection, join: JoinRoomPayload) -> None:
        place = connection.place(join.room_id)
        with self._leaves.joining(place):
            await self._join(connection, join, place)

    async def _join(self, connection: Connection, join: JoinRoomPayload, place: RoomConnection) -> None:
        began = time.perf_counter()
        room_id = join.room_id
        result, code = "failed", ErrorCode.PRESENCE_UNAVAILABLE
        entered = answered = False
        patience = Patience(self._join_deadline_seconds)
        try:
            async with self._rooms.hold(room_id) as room:
                patience.when_asked = lambda: self._backfill.host(room)
                async with patience:
                    await self._leaves.sent(connection.id, room_id)
                    self._check_welcome(connection, room_id)
                    await self._join_barrier.enter(connection, room, place.connection, patience=patience)
                code = ErrorCode.CHAT_UNAVAILABLE
                async with asyncio.timeout_at(patience.deadline):
                    if connection in self._finishing:
                        await asyncio.shield(self._finishing[connection])
                    resumption = await self._prepare(connection, room, join, patience)
                self._check_welcome(connection, room_id)
                if connection.is_member:
                    self._admit(connection, room, resumption)
                    result, entered, answered = "joined", True, True
        except MembershipEnded:
            log.debug("the client has gone while it joined", room=room_id)
        except Barred:
            result, answered = "banned", True
            connection.join_failed(ErrorCode.BANNED_FROM_ROOM, "you are banned from this room")
        except RoomFull as error:
            result, answered = "full", True
            connection.join_failed(ErrorCode.ROOM_FULL, str(error))
        except (BusError, PresenceRefused, TimeoutError) as error:
            why = self._why(error, code, room_id)
            log.warning("join failed", error=str(error) or why, room=room_id)
            result, answered = "unavailable", True
            connection.join_failed(code, f"the room cannot be joined now, try again: {why}")
        finally:
            if not answered and connection.is_member:
                # Whatever it was, an exception or a cancelled task: no client waits for an answer for ever.
                log.error("a join ended without an outcome", room=room_id)
                connection.join_failed(ErrorCode.INTERNAL, "the join failed on our side")
            if patience.asked and not entered and connection.room is None:
                # A user who was there before keeps the place for the grace period, and may try again.
                lost = result != "banned" and not connection.gone_for_good
                self._leaves.send(place, lost=lost, keep_seconds=connection.keep_seconds)
                if connection.membership_id == place.connection:
                    connection.end_membership()
            self._metrics.join_duration.labels(result=result).observe(time.perf_counter() - began)

    def _why(self, error: Exception, code: ErrorCode, room: RoomId) -> str:
        """A join failed: for people."""
        if isinstance(error, SubscriptionRefused):
            return "this gateway cannot take one more room"
        if isinstance(error, MembersStorageFull):
            return str(error)
        if code is ErrorCode.PRESENCE_UNAVAILABLE:
            return self._presence.why_unavailable(presence_join(shard_of(room)))
        return "chat cannot be read"

    def _check_welcome(self, connection: Connection, room: RoomId) -> None:
        """Raises Barred."""
        if self._is_banned(connection.user, room):
            raise Barred

    async def _prepare(
        self, connection: Connection, room: Room, join: JoinRoomPayload, patience: Patience
    ) -> Resumption:
        """What the connection is to be told of the room's chat; it is in the roster when this returns."""
        history_by = patience.deadline - (1 - _HISTORY_PATIENCE) * self._join_deadline_seconds
        patience_seconds = history_by - asyncio.get_running_loop().time()
        resumption = await self._resumes.prepare(room, join, patience_seconds=patience_seconds)
        while not room.has_member(connection.user):
            # It was removed again between presence's answer and now.
            membership_id = connection.membership_id
            await self._join_barrier.enter(connection, room, membership_id, patience=patience, again=True)
            resumption = await self._resumes.prepare(room, join, patience_seconds=0)
        return resumption

    def _admit(self, connection: Connection, room: Room, resumption: Resumption) -> None:
        newcomer = connection not in room
        room.admit(connection, resumption)
        if newcomer:
            self._rooms.membership_id(room)
        connection.joined(room)
