"""Joining and leaving rooms: the conversation with presence on behalf of connections.

Each stay of a connection in a room has a name of its own, so a leave that reaches presence late, or twice, cannot end
the next stay. All the same a connection's next join of a room waits until presence has confirmed its leave: the others
see both.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

from gateway.admission import Admission
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
from shared.ids import ConnectionId, GatewayId, RoomId, connection_of
from shared.messages import JoinRoomPayload
from shared.presence import CompareReply, CompareRequest, CompleteRequest, JoinRequest, LeaveRequest, Place, RosterReply
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
_JOINED_AT_ONCE = 32
_CONFIRMED_TIMES = 2
"""The first time may be too early for a write that is on its way."""
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
        self._admission = Admission(_JOINED_AT_ONCE, patience_seconds=join_deadline_seconds)
        self._under_way: set[asyncio.Task[None]] = set()
        self._restore_slots = asyncio.Semaphore(_RESTORED_AT_ONCE)
        self._restoring: dict[ConnectionId, asyncio.Task[None]] = {}
        self._once_more: set[ConnectionId] = set()
        """Those that are missed again while they are being restored."""
        self._leaving = Counter[Place]()
        """Leaves that presence may not have been told of yet."""
        self._joined_in: dict[int, int] = {}
        """Shards in which anybody has joined, and how often they are to be confirmed."""
        self._last_leave: dict[tuple[ConnectionId, RoomId], asyncio.Task[None]] = {}

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
            async with self._rooms.hold(room_id) as room:
                async with self._admission.turn():
                    deadline = asyncio.get_running_loop().time() + self._join_deadline_seconds
                    async with asyncio.timeout_at(deadline):
                        leaving = self._last_leave.get((connection.id, room_id))
                        if leaving is not None:
                            await asyncio.shield(leaving)
                        if not connection.open:
                            return
                        asked = True
                        self._backfill.host(room)
                        await self._enter(connection, room)
                        self._admission.got_through()
                code = ErrorCode.CHAT_UNAVAILABLE
                async with asyncio.timeout_at(deadline):
                    resumption = await self._prepare(connection, room, join, deadline)
                if connection.open:
                    self._admit(connection, room, resumption)
                    result, entered = "joined", True
        except RoomFull as error:
            result = "full"
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
                # Whoever was there before keeps the place for the grace period, and may try again.
                self._tell_left(connection.place(room_id), lost=True)
                connection.end_stay()
            self._metrics.join_duration.labels(result=result).observe(time.perf_counter() - began)

    async def _prepare(self, connection: Connection, room: Room, join: JoinRoomPayload, deadline: float) -> Resumption:
        """What the connection is to be told of the room's chat; it is in the roster when this returns."""
        history_by = deadline - (1 - _HISTORY_PATIENCE) * self._join_deadline_seconds
        patience_seconds = history_by - asyncio.get_running_loop().time()
        resumption = await self._resumes.prepare(room, join, patience_seconds=patience_seconds)
        while not room.has_member(connection.user):
            # It was removed again between presence's answer and now.
            await self._enter(connection, room, again=True)
            resumption = await self._resumes.prepare(room, join, patience_seconds=0)
        return resumption

    def _admit(self, connection: Connection, room: Room, resumption: Resumption) -> None:
        if connection not in room:
            self._rooms.stay(room)
        room.admit(connection, resumption)
        connection.joined(room)

    def _request(self, connection: Connection, room: RoomId, *, with_roster: bool, again: bool = False) -> JoinRequest:
        self._joined_in[shard_of(room)] = _CONFIRMED_TIMES
        return JoinRequest.model_construct(
            room=room,
            user=connection.user,
            connection=connection.stay,
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
            elsewhere = room.roster_under_way if with_roster else None
            reply, differences = await self._ask(
                connection, room, with_roster=with_roster and elsewhere is None, again=again
            )
            told += differences
            if reply.epoch != room.epoch:
                first, with_roster = None, True
                if elsewhere is not None:
                    await asyncio.wait([elsewhere])
                if reply.epoch != room.epoch:
                    continue
            first = first or reply.sequence
            try:
                async with asyncio.timeout(barrier):
                    await room.heard(first)
            except TimeoutError:
                self._metrics.barrier_retries.inc()
                with_roster = not room.consistent
                barrier = min(2 * barrier, _BARRIER_MAX_SECONDS)
                continue
            return told

    async def _ask(
        self, connection: Connection, room: Room, *, with_roster: bool, again: bool
    ) -> tuple[RosterReply, int]:
        """Have the entry written; with a roster, the room takes it, and the number is what that changed."""
        request = self._request(connection, room.id, with_roster=with_roster, again=again)
        if not with_roster:
            return await self._presence.join(request), 0
        with room.taking_roster():
            reply = await self._presence.join(request)
            return reply, room.load(reply)

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
            # First what is too much: restoring makes entries newer than the count, and those are spared.
            await self._tell_all(shard, bound)
        spread_seconds = _SPREAD_SECONDS if len(self._rooms) > _SPREAD_FROM_ROOMS else 0.0
        rooms = self._rooms.in_shard(shard)
        await asyncio.gather(*(self._announce_room(room, random.uniform(0, spread_seconds)) for room in rooms))  # noqa: S311

    @property
    def unconfirmed(self) -> list[int]:
        """Shards in which anybody has joined of late."""
        return list(self._joined_in)

    async def confirm(self, shard: int) -> None:
        """Tell presence all connections we have in a shard.

        A write that was not acknowledged, or whose reply was lost, can be committed after its connection has left.
        Raises PresenceRefused or TimeoutError.
        """
        async with asyncio.timeout(_ANSWER_SECONDS):
            await self._tell_all(shard, await self._presence.compare(shard, _NOTHING))
        self._joined_in[shard] -= 1
        if not self._joined_in[shard]:
            del self._joined_in[shard]

    async def _tell_all(self, shard: int, bound: CompareReply) -> None:
        """`bound`: what presence had applied before we count. Raises PresenceRefused."""
        connections = {connection.stay for connection in self._connections_in(shard)}
        leaving = {place.connection for place in self._leaving if shard_of(place.room) == shard}
        await self._presence.complete(
            CompleteRequest.model_construct(
                gateway=self._gateway,
                shard=shard,
                epoch=bound.epoch,
                revision=bound.revision,
                connections=connections | leaving,
            )
        )

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
        except TimeoutError:
            log.warning("a member could not be put back yet", room=connection.room.id if connection.room else None)
        except PresenceRefused as error:
            log.error("a member could not be put back", error=str(error))
        finally:
            del self._restoring[connection.id]
            self._once_more.discard(connection.id)

    async def _put_back(self, connection: Connection, room: Room) -> None:
        """Raises TimeoutError; the next comparison finds who is still missing."""
        self._metrics.restored.inc()
        place = connection.place(room.id)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._presence.join(self._request(connection, room.id, with_roster=False, again=True))
        finally:
            self._withdraw_if_gone(place, connection)

    async def refresh(self, room: Room) -> None:
        """Take a room's roster anew, as a join does, and tell its members the difference."""
        for _ in range(_REFRESH_ATTEMPTS):
            room.doubt()
            connection = next(_connections(room), None)
            if connection is None:
                return
            place = connection.place(room.id)
            try:
                async with asyncio.timeout(_ANSWER_SECONDS), self._restore_slots:
                    self._metrics.resync_differences.inc(await self._enter(connection, room, again=True))
                return
            except TimeoutError:
                continue
            except PresenceRefused as error:
                log.error("a member could not be put back", error=str(error))
                return
            finally:
                self._withdraw_if_gone(place, connection)
        log.error("a room's roster could not be taken anew", room=room.id)

    # --- leave ---

    def _withdraw_if_gone(self, place: Place, connection: Connection) -> None:
        """It may have left while it was being put back: undo a join that may have been written."""
        if not connection.holds_or_will(place):
            self._tell_left(place, lost=not connection.open)

    def is_present(self, place: Place) -> None:
        """Presence has this. If nobody is there, a join was carried out after it was given up, or after its leave."""
        connection = self._connections.get(connection_of(place.connection))
        if place in self._leaving:
            return
        if connection is None:
            self._tell_left(place, lost=True)
        else:
            self._withdraw_if_gone(place, connection)

    def _tell_left(self, place: Place, *, lost: bool) -> None:
        self._leaving[place] += 1
        key = connection_of(place.connection), place.room
        task = self._last_leave[key] = self._begin("leave", self._leave(place, lost=lost))

        def ended(_task: asyncio.Task[None]) -> None:
            self._leaving[place] -= 1
            if not self._leaving[place]:
                del self._leaving[place]
            if self._last_leave.get(key) is task:
                del self._last_leave[key]

        task.add_done_callback(ended)

    async def _leave(self, place: Place, *, lost: bool) -> None:
        """Asks until presence answers."""
        request = LeaveRequest.model_construct(room=place.room, user=place.user, connection=place.connection, lost=lost)
        try:
            await self._presence.leave(request)
        except PresenceRefused as error:
            log.error("a leave was refused", error=str(error), room=place.room)


def _connections(room: Room) -> Iterator[Connection]:
    return (recipient for recipient in room.fanout if isinstance(recipient, Connection))
