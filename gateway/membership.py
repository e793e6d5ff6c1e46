"""Joining and leaving rooms: the conversation with presence on behalf of connections.

Operations of one connection happen one after the other: a leave that presence has not confirmed holds up the next
join, never the other way round, so that presence cannot see them in the wrong order.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from gateway.connection import Connection
from gateway.metrics import GatewayMetrics
from gateway.presence_client import PresenceClient, PresenceUnavailable
from gateway.room import Room
from gateway.rooms import Rooms
from services import logs
from services.bus import BusError
from services.tasks import Tasks
from shared.errors import ErrorCode
from shared.ids import GatewayId, RoomId
from shared.presence import JoinRequest, LeaveRequest

log = logs.get(__name__)

_BARRIER_SECONDS = 0.1
"""A committed change of one's own that has not been heard by then is asked for again."""
_RETRY_FIRST_SECONDS = 0.05
_RETRY_MAX_SECONDS = 1.0


class Membership:
    def __init__(
        self,
        gateway: GatewayId,
        rooms: Rooms,
        presence: PresenceClient,
        tasks: Tasks,
        metrics: GatewayMetrics,
        *,
        join_deadline_seconds: float,
    ) -> None:
        self._gateway = gateway
        self._rooms = rooms
        self._presence = presence
        self._tasks = tasks
        self._metrics = metrics
        self._join_deadline_seconds = join_deadline_seconds
        self._under_way: set[asyncio.Task[None]] = set()

    async def settled(self) -> None:
        """Returns when no join or leave is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def join(self, connection: Connection, room_id: RoomId) -> None:
        """Begin a join; the connection is told how it ends."""
        self._begin("join", self._join(connection, room_id))

    def leave(self, connection: Connection, room: Room) -> None:
        """Take the connection out of its room: at once for its events, as soon as presence answers for the others."""
        room.dismiss(connection)
        before = connection.leaving
        connection.leaving = self._begin("leave", self._leave(connection, room, before))

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.spawn(name, work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    # --- join ---------------------------------------------------------------------------------------------

    async def _join(self, connection: Connection, room_id: RoomId) -> None:
        began = time.perf_counter()
        asked = False
        try:
            async with asyncio.timeout(self._join_deadline_seconds), self._rooms.hold(room_id) as room:
                if connection.leaving is not None:
                    await asyncio.shield(connection.leaving)
                asked = True
                await self._enter(connection, room)
                if not connection.open:
                    self._withdraw(connection, room_id)
                    return
                if connection not in room:
                    self._rooms.stay(room)
                room.admit(connection)
                connection.joined(room)
                self._metrics.join_duration.labels(result="joined").observe(time.perf_counter() - began)
        except (BusError, TimeoutError) as error:
            log.warning("join failed", error=str(error) or "deadline", room=room_id)
            self._metrics.join_duration.labels(result="unavailable").observe(time.perf_counter() - began)
            if asked and connection.room is None:
                self._withdraw(connection, room_id)
            connection.join_failed(ErrorCode.PRESENCE_UNAVAILABLE, "the room cannot be joined now, try again")
        except Exception:
            connection.join_failed(ErrorCode.INTERNAL, "the join failed on our side")
            raise

    async def _enter(self, connection: Connection, room: Room) -> None:
        """Returns when presence has the connection, and the room's roster here contains it."""
        with_roster = not room.consistent
        wait = _RETRY_FIRST_SECONDS
        while True:
            request = JoinRequest.model_construct(
                room=room.id,
                user=connection.user,
                connection=connection.id,
                gateway=self._gateway,
                profile=connection.profile,
                with_roster=with_roster,
            )
            try:
                reply = await self._presence.join(request)
            except PresenceUnavailable as error:
                log.debug("presence did not answer a join", error=str(error))
                await asyncio.sleep(wait)
                wait = min(2 * wait, _RETRY_MAX_SECONDS)
                continue
            if reply.members is not None:
                room.load(reply)
            try:
                async with asyncio.timeout(_BARRIER_SECONDS):
                    await room.heard(reply.sequence)
            except TimeoutError:
                self._metrics.barrier_retries.inc()
                with_roster = True
                continue
            return

    # --- leave --------------------------------------------------------------------------------------------

    async def _leave(self, connection: Connection, room: Room, before: asyncio.Task[None] | None) -> None:
        await self._rooms.leave(room)
        await self._tell_left(connection, room.id, before)

    def _withdraw(self, connection: Connection, room_id: RoomId) -> None:
        """Undo a join that may have been written."""
        before = connection.leaving
        connection.leaving = self._begin("withdraw", self._tell_left(connection, room_id, before))

    async def _tell_left(self, connection: Connection, room_id: RoomId, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.shield(before)
        request = LeaveRequest.model_construct(room=room_id, user=connection.user, connection=connection.id)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(PresenceUnavailable),
            wait=wait_random_exponential(multiplier=_RETRY_FIRST_SECONDS, max=_RETRY_MAX_SECONDS),
        ):
            with attempt:
                await self._presence.leave(request)
