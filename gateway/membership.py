"""Joining and leaving rooms, on behalf of connections."""

import asyncio
import time
from collections.abc import Callable

from gateway.admission import Admission
from gateway.backfill import Backfill
from gateway.connection import Connection
from gateway.entering import Entering
from gateway.leaves import Leaves
from gateway.metrics import GatewayMetrics
from gateway.presence_client import PresenceClient, PresenceRefused, RoomFull
from gateway.resume import Resumes
from gateway.room import Resumption, Room
from gateway.rooms import Rooms
from gateway.under_way import UnderWay
from services import logs
from services.bus import BusError, SubscriptionRefused
from shared.errors import ErrorCode
from shared.ids import RoomId, UserId
from shared.messages import JoinRoomPayload
from shared.subjects import presence_join, shard_of

log = logs.get(__name__)

_HISTORY_PATIENCE = 0.6
"""Share of the join deadline after which a client that does not resume is let in without history."""
_JOINED_AT_ONCE = 32


class Barred(Exception):
    """The user may not enter the room."""


class Membership:
    def __init__(
        self,
        rooms: Rooms,
        presence: PresenceClient,
        entering: Entering,
        leaves: Leaves,
        under_way: UnderWay,
        metrics: GatewayMetrics,
        backfill: Backfill,
        resumes: Resumes,
        *,
        is_banned: Callable[[UserId, RoomId], bool],
        join_deadline_seconds: float,
    ) -> None:
        self._rooms = rooms
        self._presence = presence
        self._entering = entering
        self._leaves = leaves
        self._under_way = under_way
        self._metrics = metrics
        self._backfill = backfill
        self._resumes = resumes
        self._is_banned = is_banned
        self._join_deadline_seconds = join_deadline_seconds
        self._admission = Admission(_JOINED_AT_ONCE, patience_seconds=join_deadline_seconds)

    def join(self, connection: Connection, join: JoinRoomPayload) -> None:
        """Begin a join; the connection is told how it ends."""
        self._under_way.begin("join", self._join(connection, join))

    def leave(self, connection: Connection, room: Room, *, lost: bool) -> None:
        """Take the connection out of its room: at once for its events, as soon as presence answers for the others.

        `lost`: the connection was lost; its user keeps the place for the grace period.
        """
        room.dismiss(connection)
        self._under_way.begin("let go", self._rooms.leave(room))
        self._leaves.tell(connection.place(room.id), lost=lost, keep_seconds=connection.keep_seconds)

    async def _join(self, connection: Connection, join: JoinRoomPayload) -> None:
        began = time.perf_counter()
        room_id = join.room_id
        result, code = "failed", ErrorCode.PRESENCE_UNAVAILABLE
        asked = entered = False
        try:
            async with self._rooms.hold(room_id) as room:
                async with self._admission.turn():
                    deadline = asyncio.get_running_loop().time() + self._join_deadline_seconds
                    async with asyncio.timeout_at(deadline):
                        await self._leaves.told(connection.id, room_id)
                        if not _is_staying(connection):
                            return
                        self._check_welcome(connection, room_id)
                        asked = True
                        self._backfill.host(room)
                        await self._entering.enter(connection, room)
                        self._admission.got_through()
                code = ErrorCode.CHAT_UNAVAILABLE
                async with asyncio.timeout_at(deadline):
                    resumption = await self._prepare(connection, room, join, deadline)
                self._check_welcome(connection, room_id)
                if _is_staying(connection):
                    self._admit(connection, room, resumption)
                    result, entered = "joined", True
        except Barred:
            result = "banned"
            connection.join_failed(ErrorCode.BANNED_FROM_ROOM, "you are banned from this room")
        except RoomFull as error:
            result = "full"
            connection.join_failed(ErrorCode.ROOM_FULL, str(error))
        except (BusError, PresenceRefused, TimeoutError) as error:
            why = self._why(error, code, room_id)
            log.warning("join failed", error=str(error) or why, room=room_id)
            result = "unavailable"
            connection.join_failed(code, f"the room cannot be joined now, try again: {why}")
        except Exception:
            connection.join_failed(ErrorCode.INTERNAL, "the join failed on our side")
            raise
        finally:
            if asked and not entered and connection.room is None:
                # Whoever was there before keeps the place for the grace period, and may try again.
                lost = result != "banned" and not connection.expelled
                self._leaves.tell(connection.place(room_id), lost=lost, keep_seconds=connection.keep_seconds)
                connection.end_stay()
            self._metrics.join_duration.labels(result=result).observe(time.perf_counter() - began)

    def _why(self, error: Exception, code: ErrorCode, room: RoomId) -> str:
        """A join failed: for people."""
        if isinstance(error, SubscriptionRefused):
            return "this gateway cannot take one more room"
        if code is ErrorCode.PRESENCE_UNAVAILABLE:
            return self._presence.why_unavailable(presence_join(shard_of(room)))
        return "chat cannot be read"

    def _check_welcome(self, connection: Connection, room: RoomId) -> None:
        """Raises Barred."""
        if self._is_banned(connection.user, room):
            raise Barred

    async def _prepare(self, connection: Connection, room: Room, join: JoinRoomPayload, deadline: float) -> Resumption:
        """What the connection is to be told of the room's chat; it is in the roster when this returns."""
        history_by = deadline - (1 - _HISTORY_PATIENCE) * self._join_deadline_seconds
        patience_seconds = history_by - asyncio.get_running_loop().time()
        resumption = await self._resumes.prepare(room, join, patience_seconds=patience_seconds)
        while not room.has_member(connection.user):
            # It was removed again between presence's answer and now.
            await self._entering.enter(connection, room, again=True)
            resumption = await self._resumes.prepare(room, join, patience_seconds=0)
        return resumption

    def _admit(self, connection: Connection, room: Room, resumption: Resumption) -> None:
        if connection not in room:
            self._rooms.stay(room)
        room.admit(connection, resumption)
        connection.joined(room)


def _is_staying(connection: Connection) -> bool:
    """It is open, and nobody has begun to close it."""
    return connection.open and connection.closing_since is None
