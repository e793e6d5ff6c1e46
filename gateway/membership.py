"""Joining and leaving rooms: the conversation with presence on behalf of connections.

Operations of one connection happen one after the other: a leave that presence has not confirmed holds up the next
join, never the other way round, so that presence cannot see them in the wrong order.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from gateway.connection import Connection
from gateway.metrics import GatewayMetrics
from gateway.presence_client import PresenceClient, PresenceRefused, RoomFull
from gateway.room import Room
from gateway.rooms import Rooms
from services import logs
from services.bus import BusError
from services.tasks import Tasks
from shared.errors import ErrorCode
from shared.ids import ConnectionId, GatewayId, RoomId, UserId
from shared.presence import CompareReply, CompareRequest, CompleteRequest, JoinRequest, LeaveReply, LeaveRequest, Place
from shared.subjects import SHARDS, shard_of

log = logs.get(__name__)

_BARRIER_SECONDS = 0.1
"""A committed change of one's own that has not been heard by then is asked for again; doubled each time."""
_ANSWER_SECONDS = 5.0
_SHARDS_AT_ONCE = 16
_RESTORED_AT_ONCE = 64
_NOTHING = CompareRequest(epoch="", rooms={})
"""Asks only for what presence has applied."""

Answer = TypeVar("Answer", CompareReply, LeaveReply)


class Membership:
    def __init__(
        self,
        gateway: GatewayId,
        rooms: Rooms,
        presence: PresenceClient,
        tasks: Tasks,
        metrics: GatewayMetrics,
        *,
        connections: Mapping[ConnectionId, Connection],
        join_deadline_seconds: float,
    ) -> None:
        """`connections`: those that are open."""
        self._gateway = gateway
        self._rooms = rooms
        self._connections = connections
        self._presence = presence
        self._tasks = tasks
        self._metrics = metrics
        self._join_deadline_seconds = join_deadline_seconds
        self._under_way: set[asyncio.Task[None]] = set()
        self._restore_slots = asyncio.Semaphore(_RESTORED_AT_ONCE)

    async def settled(self) -> None:
        """Returns when no join or leave is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def join(self, connection: Connection, room_id: RoomId) -> None:
        """Begin a join; the connection is told how it ends."""
        self._begin("join", self._join(connection, room_id))

    def leave(self, connection: Connection, room: Room, *, lost: bool) -> None:
        """Take the connection out of its room: at once for its events, as soon as presence answers for the others.

        `lost`: the connection was lost; its user keeps the place for the grace period.
        """
        room.dismiss(connection)
        place = connection.place(room.id)
        connection.leaving = self._begin("leave", self._leave(place, room, connection.leaving, lost=lost))

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
                if not room.has_member(connection.user):
                    # Presence gave us up between its answer and now.
                    self.restore(room, connection.user)
        except RoomFull as error:
            result, asked = "full", False
            connection.join_failed(ErrorCode.ROOM_FULL, str(error))
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

    def _request(self, connection: Connection, room: RoomId, *, with_roster: bool) -> JoinRequest:
        return JoinRequest.model_construct(
            room=room,
            user=connection.user,
            connection=connection.id,
            gateway=self._gateway,
            profile=connection.profile,
            with_roster=with_roster,
        )

    async def _enter(self, connection: Connection, room: Room) -> None:
        """Returns when presence has the connection, and the room's roster here contains it."""
        with_roster = not room.consistent
        barrier = _BARRIER_SECONDS
        first: int | None = None
        while True:
            reply = await self._presence.join(self._request(connection, room.id, with_roster=with_roster))
            if reply.epoch != room.epoch:
                first = None
                if reply.members is None:
                    with_roster = True
                    continue
            if reply.members is not None:
                room.load(reply)
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

    # --- after a doubt ---

    async def announce(self) -> None:
        """Tell presence everything we have, and that it is everything. Raises PresenceRefused or TimeoutError."""
        bounds = await _each_shard(lambda shard: self._presence.compare(shard, _NOTHING))
        connections = list(self._connections.values())
        by_shard: dict[int, set[ConnectionId]] = defaultdict(set)
        for connection in connections:
            if (room := connection.in_or_joining) is not None:
                by_shard[shard_of(room)].add(connection.id)

        def complete(shard: int) -> Coroutine[Any, Any, LeaveReply]:
            return self._presence.complete(
                CompleteRequest.model_construct(
                    gateway=self._gateway,
                    shard=shard,
                    revision=bounds[shard].revision,
                    connections=by_shard[shard],
                )
            )

        # First what is too much: restoring makes entries newer than the count, and those are spared.
        await _each_shard(complete)
        await self._restore(connections)

    def restore(self, room: Room, user: UserId) -> None:
        """Presence removed a user who is connected here: put its connections back."""
        connections = [recipient for recipient in room.connections_of(user) if isinstance(recipient, Connection)]
        self._begin("restore", self._restore(connections))

    async def _restore(self, connections: list[Connection]) -> None:
        async def restore(connection: Connection) -> None:
            async with self._restore_slots:
                if connection.room is None:
                    return
                room_id = connection.room.id
                await self._presence.join(self._request(connection, room_id, with_roster=False))
                if not connection.is_or_will_be_in(room_id):
                    # It left while it was being put back.
                    self._withdraw(connection.place(room_id), connection)

        await asyncio.gather(*(restore(connection) for connection in connections))

    # --- leave ---

    async def _leave(self, place: Place, room: Room, before: asyncio.Task[None] | None, *, lost: bool) -> None:
        await self._rooms.leave(room)
        await self._tell_left(place, before, lost=lost)

    def _withdraw(self, place: Place, connection: Connection) -> None:
        """Undo a join that may have been written."""
        lost = not connection.open
        connection.leaving = self._begin("withdraw", self._tell_left(place, connection.leaving, lost=lost))

    def join_was_late(self, place: Place) -> None:
        """Presence carried out a join after we had given it up, and after its leave perhaps."""
        connection = self._connections.get(place.connection)
        if connection is None:
            self._begin("withdraw", self._tell_left(place, None, lost=True))
        elif not connection.is_or_will_be_in(place.room):
            self._withdraw(place, connection)

    async def _tell_left(self, place: Place, before: asyncio.Task[None] | None, *, lost: bool = False) -> None:
        """Asks until presence answers."""
        if before is not None and not before.done():
            await asyncio.shield(before)
        request = LeaveRequest.model_construct(room=place.room, user=place.user, connection=place.connection, lost=lost)
        try:
            await self._presence.leave(request)
        except PresenceRefused as error:
            log.error("a leave was refused", error=str(error), room=place.room)


async def _each_shard(ask: Callable[[int], Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """One question per shard, some at a time, each with its own deadline. Raises TimeoutError."""
    slots = asyncio.Semaphore(_SHARDS_AT_ONCE)

    async def one(shard: int) -> Answer:
        async with slots, asyncio.timeout(_ANSWER_SECONDS):
            return await ask(shard)

    return await asyncio.gather(*(one(shard) for shard in range(SHARDS)))
