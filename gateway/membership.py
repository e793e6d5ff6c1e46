"""Joining and leaving rooms: the conversation with presence on behalf of connections.

A leave that presence has not confirmed holds up the connection's next join of the same room, so that presence cannot
see them in the wrong order.
"""

import asyncio
import random
import time
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

from gateway.backfill import Backfill
from gateway.connection import Connection
from gateway.metrics import GatewayMetrics
from gateway.presence_client import PresenceClient, PresenceRefused, RoomFull
from gateway.resume import Resumes
from gateway.room import Resumption, Room
from gateway.rooms import Rooms
from services import logs
from services.bus import BusError
from services.tasks import Tasks
from shared.errors import ErrorCode
from shared.ids import ConnectionId, GatewayId, RoomId
from shared.messages import JoinRoomPayload
from shared.presence import CompareRequest, CompleteRequest, JoinRequest, LeaveRequest, Place
from shared.subjects import presence_join, shard_of

log = logs.get(__name__)

_BARRIER_SECONDS = 0.1
"""A committed change of one's own that has not been heard by then is asked for again; doubled each time."""
_BARRIER_MAX_SECONDS = 1.6
_ANSWER_SECONDS = 5.0
_HISTORY_PATIENCE = 0.6
"""Share of the join deadline after which a client that does not resume is let in without history."""
_REFRESH_ATTEMPTS = 3
_RESTORED_AT_ONCE = 64
_SPREAD_SECONDS = 0.5
_SPREAD_FROM_ROOMS = 32
_NOTHING = CompareRequest(epoch="", rooms={})
"""Asks only for what presence has applied."""


class Membership:
    def __init__(
        self,
        gateway: GatewayId,
        rooms: Rooms,
        presence: PresenceClient,
        tasks: Tasks,
        metrics: GatewayMetrics,
        backfill: Backfill,
        resumes: Resumes,
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
        self._backfill = backfill
        self._resumes = resumes
        self._join_deadline_seconds = join_deadline_seconds
        self._under_way: set[asyncio.Task[None]] = set()
        self._restore_slots = asyncio.Semaphore(_RESTORED_AT_ONCE)
        self._restoring: dict[ConnectionId, asyncio.Task[None]] = {}
        self._once_more: set[ConnectionId] = set()
        """Those that are missed again while they are being restored."""
        self._leaving: dict[Place, asyncio.Task[None]] = {}
        """The last leave of each place that presence may not have been told of yet."""

    async def settled(self) -> None:
        """Returns when no join or leave is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def join(self, connection: Connection, join: JoinRoomPayload) -> None:
        """Begin a join; the connection is told how it ends."""
        self._begin("join", self._join(connection, join))

    def leave(self, connection: Connection, room: Room, *, lost: bool) -> None:
        """Take the connection out of its room: at once for its events, as soon as presence answers for the others.

        `lost`: the connection was lost; its user keeps the place for the grace period.
        """
        room.dismiss(connection)
        self._begin("let go", self._rooms.leave(room))
        self._tell_left(connection.place(room.id), lost=lost)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.spawn(name, work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    # --- join ---

    async def _join(self, connection: Connection, join: JoinRoomPayload) -> None:
        began = time.perf_counter()
        room_id = join.room_id
        result, code = "failed", ErrorCode.PRESENCE_UNAVAILABLE
        asked = entered = False
        try:
            async with asyncio.timeout(self._join_deadline_seconds), self._rooms.hold(room_id) as room:
                leaving = self._leaving.get(connection.place(room_id))
                if leaving is not None:
                    await asyncio.shield(leaving)
                if not connection.open:
                    return
                asked = True
                self._backfill.host(room)
                await self._enter(connection, room)
                code = ErrorCode.CHAT_UNAVAILABLE
                patience_seconds = (began + _HISTORY_PATIENCE * self._join_deadline_seconds) - time.perf_counter()
                resumption = await self._resumes.prepare(room, join, patience_seconds=patience_seconds)
                if connection.open:
                    self._admit(connection, room, resumption)
                    result, entered = "joined", True
        except RoomFull as error:
            result, asked = "full", False
            connection.join_failed(ErrorCode.ROOM_FULL, str(error))
        except (BusError, PresenceRefused, TimeoutError) as error:
            why = "chat cannot be read"
            if code is ErrorCode.PRESENCE_UNAVAILABLE:
                why = self._presence.why_unavailable(presence_join(shard_of(room_id)))
            log.warning("join failed", error=str(error) or why, room=room_id)
            result = "unavailable"
            connection.join_failed(code, f"the room cannot be joined now, try again: {why}")
        except Exception:
            connection.join_failed(ErrorCode.INTERNAL, "the join failed on our side")
            raise
        finally:
            if asked and not entered and connection.room is None:
                self._withdraw(connection.place(room_id), connection)
            self._metrics.join_duration.labels(result=result).observe(time.perf_counter() - began)

    def _admit(self, connection: Connection, room: Room, resumption: Resumption) -> None:
        if connection not in room:
            self._rooms.stay(room)
        room.admit(connection, resumption)
        connection.joined(room)
        if not room.has_member(connection.user):
            # Presence gave us up between its answer and now.
            self.restore(connection)

    def _request(self, connection: Connection, room: RoomId, *, with_roster: bool, again: bool = False) -> JoinRequest:
        return JoinRequest.model_construct(
            room=room,
            user=connection.user,
            connection=connection.id,
            gateway=self._gateway,
            profile=connection.profile,
            with_roster=with_roster,
            again=again,
        )

    async def _enter(self, connection: Connection, room: Room, *, again: bool = False) -> int:
        """Returns when presence has the connection and the room's roster here is consistent and contains it.

        How many changes the members here were told of.
        """
        with_roster = not room.consistent
        barrier = _BARRIER_SECONDS
        first: int | None = None
        told = 0
        while True:
            reply = await self._presence.join(self._request(connection, room.id, with_roster=with_roster, again=again))
            if reply.epoch != room.epoch:
                first = None
                if reply.members is None:
                    with_roster = True
                    continue
            if reply.members is not None:
                told += room.load(reply)
            first = first or reply.sequence
            try:
                async with asyncio.timeout(barrier):
                    await room.heard(first)
            except TimeoutError:
                self._metrics.barrier_retries.inc()
                with_roster = True
                barrier = min(2 * barrier, _BARRIER_MAX_SECONDS)
                continue
            return told

    # --- after a doubt ---

    async def announce(self, shard: int) -> None:
        """Tell presence all connections we have in a shard, and take the rosters of its rooms anew.

        Raises PresenceRefused, or TimeoutError when nobody serves the shard.
        """
        async with asyncio.timeout(_ANSWER_SECONDS):
            bound = await self._presence.compare(shard, _NOTHING)
            # What was received before a reconnect has been handled by now: what is heard from here on is proof.
            for room in self._rooms.in_shard(shard):
                room.doubt()
            connections = {connection.id for connection in self._connections_in(shard)}
            leaving = {place.connection for place in self._leaving if shard_of(place.room) == shard}
            # First what is too much: restoring makes entries newer than the count, and those are spared.
            await self._presence.complete(
                CompleteRequest.model_construct(
                    gateway=self._gateway,
                    shard=shard,
                    epoch=bound.epoch,
                    revision=bound.revision,
                    connections=connections | leaving,
                )
            )
        spread_seconds = _SPREAD_SECONDS if len(self._rooms) > _SPREAD_FROM_ROOMS else 0.0
        rooms = self._rooms.in_shard(shard)
        await asyncio.gather(*(self._announce_room(room, random.uniform(0, spread_seconds)) for room in rooms))  # noqa: S311

    async def _announce_room(self, room: Room, wait_seconds: float) -> None:
        """`wait_seconds`: until the roster is asked for, so that not all gateways ask for all rosters at once."""

        async def refresh() -> None:
            await asyncio.sleep(wait_seconds)
            await self.refresh(room)

        # Refreshing the room puts its first connection back.
        others = list(_connections(room))[1:]
        await asyncio.gather(refresh(), *(asyncio.shield(self.restore(other)) for other in others))

    def _connections_in(self, shard: int) -> Iterator[Connection]:
        for connection in self._connections.values():
            room = connection.in_or_joining
            if room is not None and shard_of(room) == shard:
                yield connection

    def restore(self, connection: Connection) -> asyncio.Task[None]:
        """Put a connection back that presence may not have; the task ends when it has."""
        task = self._restoring.get(connection.id)
        if task is None:
            task = self._restoring[connection.id] = self._begin("restore", self._restore(connection))
        else:
            self._once_more.add(connection.id)
        return task

    async def _restore(self, connection: Connection) -> None:
        try:
            async with self._restore_slots:
                while connection.room is not None:
                    self._once_more.discard(connection.id)
                    await self._put_back(connection, connection.room)
                    if connection.id not in self._once_more:
                        return
        except PresenceRefused as error:
            log.error("a member could not be put back", error=str(error))
        finally:
            del self._restoring[connection.id]
            self._once_more.discard(connection.id)

    async def _put_back(self, connection: Connection, room: Room) -> None:
        self._metrics.restored.inc()
        try:
            await self._presence.join(self._request(connection, room.id, with_roster=False, again=True))
        finally:
            self._withdraw_if_gone(connection, room.id)

    async def refresh(self, room: Room) -> None:
        """Take a room's roster anew, as a join does, and tell its members the difference."""
        for _ in range(_REFRESH_ATTEMPTS):
            room.doubt()
            connection = next(_connections(room), None)
            if connection is None:
                return
            try:
                async with self._restore_slots, asyncio.timeout(_ANSWER_SECONDS):
                    self._metrics.resync_differences.inc(await self._enter(connection, room, again=True))
                return
            except TimeoutError:
                continue
            except PresenceRefused as error:
                log.error("a member could not be put back", error=str(error))
                return
            finally:
                self._withdraw_if_gone(connection, room.id)
        log.error("a room's roster could not be taken anew", room=room.id)

    def _withdraw_if_gone(self, connection: Connection, room: RoomId) -> None:
        """It may have left while it was being put back."""
        if not connection.is_or_will_be_in(room):
            self._withdraw(connection.place(room), connection)

    # --- leave ---

    def _withdraw(self, place: Place, connection: Connection) -> None:
        """Undo a join that may have been written."""
        self._tell_left(place, lost=not connection.open)

    def join_was_late(self, place: Place) -> None:
        """Presence carried out a join after we had given it up, and after its leave perhaps."""
        connection = self._connections.get(place.connection)
        if connection is None:
            self._tell_left(place, lost=True)
        elif not connection.is_or_will_be_in(place.room):
            self._withdraw(place, connection)

    def _tell_left(self, place: Place, *, lost: bool) -> None:
        before = self._leaving.get(place)
        task = self._leaving[place] = self._begin("leave", self._leave(place, before, lost=lost))

        def ended(_task: asyncio.Task[None]) -> None:
            if self._leaving.get(place) is task:
                del self._leaving[place]

        task.add_done_callback(ended)

    async def _leave(self, place: Place, before: asyncio.Task[None] | None, *, lost: bool) -> None:
        """Asks until presence answers."""
        if before is not None:
            await asyncio.shield(before)
        request = LeaveRequest.model_construct(room=place.room, user=place.user, connection=place.connection, lost=lost)
        try:
            await self._presence.leave(request)
        except PresenceRefused as error:
            log.error("a leave was refused", error=str(error), room=place.room)


def _connections(room: Room) -> Iterator[Connection]:
    return (recipient for recipient in room.fanout if isinstance(recipient, Connection))
