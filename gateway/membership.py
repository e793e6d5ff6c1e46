"""Joining and leaving rooms: the conversation with presence on behalf of connections.

Operations of one connection happen one after the other: a leave that presence has not confirmed holds up the next
join, never the other way round, so that presence cannot see them in the wrong order.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.connection import Connection
from gateway.metrics import GatewayMetrics
from gateway.presence_client import PresenceClient, PresenceRefused
from gateway.room import Room
from gateway.rooms import Rooms
from services import logs
from services.bus import Bus, BusError
from services.tasks import Tasks
from shared.errors import ErrorCode
from shared.ids import ConnectionId, GatewayId, RoomId
from shared.presence import JoinRequest, LeaveRequest, Place

log = logs.get(__name__)

_BARRIER_SECONDS = 0.1
"""A committed change of one's own that has not been heard by then is asked for again; doubled each time."""


class Membership:
    def __init__(
        self,
        gateway: GatewayId,
        rooms: Rooms,
        bus: Bus,
        tasks: Tasks,
        metrics: GatewayMetrics,
        *,
        find: Callable[[ConnectionId], Connection | None],
        join_deadline_seconds: float,
    ) -> None:
        """`find` gives an open connection by its id."""
        self._gateway = gateway
        self._rooms = rooms
        self._find = find
        self._presence = PresenceClient(bus, late_join=self.join_was_late)
        self._tasks = tasks
        self._metrics = metrics
        self._join_deadline_seconds = join_deadline_seconds
        self._under_way: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._presence.start()

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
        place = connection.place(room.id)
        connection.leaving = self._begin("leave", self._leave(place, room, connection.leaving))

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.spawn(name, work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    # --- join ---

    async def _join(self, connection: Connection, room_id: RoomId) -> None:
        began = time.perf_counter()
        result = "failed"
        asked = entered = False
        try:
            async with asyncio.timeout(self._join_deadline_seconds), self._rooms.hold(room_id) as room:
                if connection.leaving is not None:
                    await asyncio.shield(connection.leaving)
                if not connection.open:
                    return
                asked = True
                await self._enter(connection, room)
                if not connection.open:
                    return
                if connection not in room:
                    self._rooms.stay(room)
                entered = True
                room.admit(connection)
                connection.joined(room)
                result = "joined"
        except (BusError, PresenceRefused, TimeoutError) as error:
            log.warning("join failed", error=str(error) or "deadline", room=room_id)
            result = "unavailable"
            connection.join_failed(ErrorCode.PRESENCE_UNAVAILABLE, "the room cannot be joined now, try again")
        except Exception:
            connection.join_failed(ErrorCode.INTERNAL, "the join failed on our side")
            raise
        finally:
            if asked and not entered and connection.room is None:
                self._withdraw(connection.place(room_id), connection)
            self._metrics.join_duration.labels(result=result).observe(time.perf_counter() - began)

    async def _enter(self, connection: Connection, room: Room) -> None:
        """Returns when presence has the connection, and the room's roster here contains it."""
        with_roster = not room.consistent
        barrier = _BARRIER_SECONDS
        first: int | None = None
        while True:
            reply = await self._presence.join(
                JoinRequest.model_construct(
                    room=room.id,
                    user=connection.user,
                    connection=connection.id,
                    gateway=self._gateway,
                    profile=connection.profile,
                    with_roster=with_roster,
                )
            )
            if reply.members is not None:
                if room.load(reply):
                    first = None
            elif reply.epoch != room.epoch:
                with_roster = True
                continue
            first = first or reply.sequence
            try:
                async with asyncio.timeout(barrier):
                    await room.heard(first)
            except TimeoutError:
                self._metrics.barrier_retries.inc()
                with_roster = True
                barrier *= 2
                continue
            return

    # --- leave ---

    async def _leave(self, place: Place, room: Room, before: asyncio.Task[None] | None) -> None:
        await self._rooms.leave(room)
        await self._tell_left(place, before)

    def _withdraw(self, place: Place, connection: Connection) -> None:
        """Undo a join that may have been written."""
        connection.leaving = self._begin("withdraw", self._tell_left(place, connection.leaving))

    def join_was_late(self, place: Place) -> None:
        """Presence carried out a join after we had given it up, and after its leave perhaps."""
        connection = self._find(place.connection)
        if connection is None:
            self._begin("withdraw", self._tell_left(place, None))
        elif not connection.is_or_will_be_in(place.room):
            self._withdraw(place, connection)

    async def _tell_left(self, place: Place, before: asyncio.Task[None] | None) -> None:
        """Asks until presence answers."""
        if before is not None and not before.done():
            await asyncio.shield(before)
        request = LeaveRequest.model_construct(room=place.room, user=place.user, connection=place.connection)
        try:
            await self._presence.leave(request)
        except PresenceRefused as error:
            log.error("a leave was refused", error=str(error), room=place.room)
