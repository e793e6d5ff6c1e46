"""Carries out joins, from `JoinRoom` to `JoinedRoom`.

A join hosts the room, passes the join barrier, reads the chat that the client missed, and admits the connection.
"""

import asyncio
import time

from studyroom.gateway.auth.bans import Bans
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
from studyroom.gateway.rooms.rooms import Hosting, Rooms
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError, SubscriptionRefused
from studyroom.shared.chassis.tracing.spans import Tracer, begun, within
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.messages import JoinRoomPayload
from studyroom.shared.contract.presence import RoomConnection
from studyroom.shared.contract.room_hints import Spread, room_hint
from studyroom.shared.contract.subjects import presence_join, shard_of

log = logs.get(__name__)

_HISTORY_PATIENCE = 0.6
"""After this share of the join deadline, a client that does not resume is admitted without history."""


class _Banned(Exception):
    """The user may not enter the room."""


class Joins:
    def __init__(
        self,
        rooms: Rooms,
        hosting: Hosting,
        presence: PresenceClient,
        join_barrier: JoinBarrier,
        leaves: Leaves,
        pending: PendingWork,
        resumes: Resumes,
        bans: Bans,
        metrics: GatewayMetrics,
        spread: Spread,
        *,
        deadline_seconds: float,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._rooms = rooms
        self._hosting = hosting
        self._presence = presence
        self._join_barrier = join_barrier
        self._leaves = leaves
        self._pending = pending
        self._resumes = resumes
        self._bans = bans
        self._metrics = metrics
        self._spread = spread
        self._deadline_seconds = deadline_seconds

    def begin(self, connection: Connection, join: JoinRoomPayload) -> None:
        """Begin a join, which ends with the connection's `joined` or `join_failed`."""
        self._pending.begin("join", self._join(connection, join))

    async def _join(self, connection: Connection, join: JoinRoomPayload) -> None:
        """Carry out one join. Returns when the client has an answer or has gone."""
        began = time.perf_counter()
        membership = connection.membership_in(join.room_id)
        patience = Patience(self._deadline_seconds)
        result = "failed"
        ids = {"studyroom.room": membership.room, "studyroom.connection": connection.id}
        with begun(self._tracer, "join", ids) as span, self._leaves.joining(membership):
            try:
                result = await self._answer(connection, join, membership, patience)
            finally:
                if result == "failed" and connection.is_member:
                    # After an unexpected exception or a cancellation the client must get an answer too.
                    log.error("a join ended without an outcome", room=membership.room)
                    connection.join_failed(ErrorCode.INTERNAL, "the join failed with an internal error")
                if patience.started and result != "joined" and connection.room is None:
                    self._withdraw(connection, membership, banned=result == "banned")
                self._metrics.join_duration.labels(result=result).observe(time.perf_counter() - began)
                if span is not None:
                    span.note({"studyroom.result": result})

    async def _answer(
        self, connection: Connection, join: JoinRoomPayload, membership: RoomConnection, patience: Patience
    ) -> str:
        """Returns the result of the join for the metrics. The client has an answer, unless the result is "failed"."""
        code = ErrorCode.PRESENCE_UNAVAILABLE
        try:
            async with self._hosting.hold(membership.room) as room:
                await self._enter(connection, room, membership, patience)
                code = ErrorCode.CHAT_UNAVAILABLE
                async with asyncio.timeout_at(patience.deadline):
                    await self._leaves.finished(connection)
                    with within("read chat"):
                        resumption = await self._read_chat(connection, room, join, membership, patience)
                self._check_welcome(connection, membership.room)
                if not connection.is_member:
                    return "failed"
                self._admit(connection, room, resumption)
                return "joined"
        except MembershipEnded:
            log.debug("the client left during its join", room=membership.room)
            return "failed"
        except _Banned:
            connection.join_failed(ErrorCode.BANNED_FROM_ROOM, "you are banned from this room")
            return "banned"
        except RoomFull as error:
            connection.join_failed(ErrorCode.ROOM_FULL, str(error))
            return "full"
        except (BusError, PresenceRefused, TimeoutError) as error:
            reason = self._reason(error, code, membership.room)
            log.warning("join failed", error=str(error) or reason, room=membership.room)
            connection.join_failed(code, f"the room cannot be joined now, try again: {reason}")
            return "unavailable"

    async def _enter(self, connection: Connection, room: Room, membership: RoomConnection, patience: Patience) -> None:
        patience.when_started = lambda: self._resumes.expect(room)
        async with patience:
            await self._leaves.sent(connection, membership.room)
            self._check_welcome(connection, membership.room)
            await self._join_barrier.enter(connection, room, membership.connection, patience=patience)

    async def _read_chat(
        self, connection: Connection, room: Room, join: JoinRoomPayload, membership: RoomConnection, patience: Patience
    ) -> Resumption:
        """Read the chat that the client gets. When this returns, the connection is in the roster."""
        history_by = patience.deadline - (1 - _HISTORY_PATIENCE) * self._deadline_seconds
        patience_seconds = history_by - asyncio.get_running_loop().time()
        resumption = await self._resumes.prepare(room, join, patience_seconds=patience_seconds)
        while connection.user not in room.members:
            # The entry was removed after presence had answered.
            await self._join_barrier.enter(connection, room, membership.connection, patience=patience, again=True)
            resumption = await self._resumes.prepare(room, join, patience_seconds=0)
        return resumption

    def _admit(self, connection: Connection, room: Room, resumption: Resumption) -> None:
        newcomer = connection not in room
        room.parts = self._spread.parts(len(room.members), room.parts)
        hint = room_hint(room.id, connection.user, room.parts)
        room.admit(connection, resumption, hint if hint != room.id else None)
        if newcomer:
            self._rooms.enter(room)
        connection.joined(room)

    def _withdraw(self, connection: Connection, membership: RoomConnection, *, banned: bool) -> None:
        """Undo the join if presence has written it. A user who was in the room before stays a member for the grace
        period, and may try again."""
        lost = not banned and not connection.gone_for_good
        self._leaves.send(membership, lost=lost, keep_seconds=connection.keep_seconds)
        if connection.membership_id == membership.connection:
            connection.end_membership()

    def _check_welcome(self, connection: Connection, room: RoomId) -> None:
        """Raises _Banned."""
        if self._bans.ban_of(connection.user, room) is not None:
            raise _Banned

    def _reason(self, error: Exception, code: ErrorCode, room: RoomId) -> str:
        """The reason for a failed join, for people."""
        if isinstance(error, SubscriptionRefused):
            return "this gateway cannot take one more room"
        if isinstance(error, MembersStorageFull):
            return str(error)
        if code is ErrorCode.PRESENCE_UNAVAILABLE:
            return self._presence.why_unavailable(presence_join(shard_of(room)))
        return "chat cannot be read"
