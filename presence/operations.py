"""Join, leave and roster against the store: read the mirror, compare-and-set, again on conflict."""

import asyncio
import random
from collections.abc import Callable

from studyroom.presence.grace import Graces
from studyroom.presence.metrics import PresenceMetrics
from studyroom.presence.store import Store
from studyroom.shared.chassis.nats.bus import BusUnavailable, Conflict, StorageFull
from studyroom.shared.contract.ids import GatewayId, MembershipId, RoomId, UserId
from studyroom.shared.contract.presence import (
    CompareReply,
    CompareRequest,
    CompleteReply,
    CompleteRequest,
    Entry,
    JoinRequest,
    LeaveReply,
    LeaveRequest,
    Outcome,
    RoomConnection,
    RoomsReply,
    RoomsRequest,
    RoomSummary,
    RosterReply,
    RosterRequest,
)
from studyroom.shared.contract.subjects import SHARDS

_DROP_SECONDS = 5.0
_DROPPED_AT_ONCE = 64
_STORAGE_FULL = RosterReply(outcome=Outcome.UNAVAILABLE, storage_full=True)


class Operations:
    """Each method may be cancelled: the write it was in then has happened or not, and asking again is harmless.

    All raise BusError when NATS does not answer or the mirror is not ready: another replica may be.
    """

    def __init__(
        self,
        store: Store,
        metrics: PresenceMetrics,
        graces: Graces,
        *,
        grace_seconds: int,
        guard_seconds: float,
        room_capacity: int,
    ) -> None:
        self._store = store
        self._guard_seconds = guard_seconds
        self._grace_seconds = grace_seconds
        self._room_capacity = room_capacity
        self._metrics = metrics
        self._graces = graces

    async def join(self, request: JoinRequest) -> RosterReply:
        """Writes always, also when the connection is in already: the event of the write is the join barrier.

        Replicas count for themselves: joins that meet at the last place of a room may both get it.
        """
        self._check_ready()

        def with_connection(entry: Entry | None) -> Entry:
            connections = dict(entry.connections) if entry else {}
            connections[request.connection] = request.gateway
            return Entry.model_construct(profile=request.profile, connections=connections)

        while True:
            mirror = self._store.mirror
            if not request.again and mirror.is_full(request.room, self._room_capacity, but=request.user):
                return RosterReply(outcome=Outcome.FULL)
            before = mirror.entry(request.room, request.user)
            if not self._has_storage(request, before):
                return _STORAGE_FULL
            expected = mirror.last_sequence(request.room, request.user)
            try:
                stored = await self._store.put(request.room, request.user, with_connection(before), expected=expected)
                break
            except Conflict:
                await self._after_conflict(request.room, request.user)
            except StorageFull:
                self._store.fill.refused()
                if request.again:
                    raise
                return _STORAGE_FULL
        await self._store.wait_applied(stored.sequence)
        self._metrics.joins.inc()
        return self._reply(
            request.room,
            sequence=stored.sequence,
            joined=RoomConnection.model_construct(room=request.room, user=request.user, connection=request.connection),
            with_members=request.with_roster,
        )

    def _has_storage(self, request: JoinRequest, before: Entry | None) -> bool:
        """Connections that were here before are put back in any case."""
        fill, applied = self._store.fill, self._store.mirror.applied
        if request.again or (before is not None and request.connection in before.connections):
            return True
        return fill.takes_members(applied) if before is None else fill.takes_connections(applied)

    async def leave(self, request: LeaveRequest) -> LeaveReply:
        """Leaving what one is not in is no error."""
        self._check_ready()
        gone = {request.connection}
        cause, grace_seconds = "client", 0
        if request.lost:
            cause, grace_seconds = "lost", max(self._grace_seconds, request.keep_seconds)
        if not await self._remove(request.room, request.user, gone, grace_seconds, cause=cause):
            # The join may have been written by another replica a moment ago.
            await self._store.catch_up(request.room, request.user)
            await self._remove(request.room, request.user, gone, grace_seconds, cause=cause)
        return LeaveReply(outcome=Outcome.OK)

    async def complete(self, request: CompleteRequest) -> CompleteReply:
        """Drop what this replica holds for a gateway beyond what the gateway says it has, and say what is missing."""
        self._check_ready()
        if request.epoch != self._store.epoch:
            raise BusUnavailable("the gateway counted in another epoch")
        await self._store.wait_applied(request.revision)
        mirror = self._store.mirror
        lacking = set(request.connections if request.connections is not None else request.some)
        for room, user in mirror.places_in(request.shard, request.gateway):
            entry = mirror.entry(room, user)
            if entry is None:
                continue
            held = entry.connections_of(request.gateway)
            lacking -= held
            if mirror.last_sequence(room, user) > request.revision:
                continue
            stale = request.missing(held)

            def counted(room: RoomId = room, user: UserId = user) -> bool:
                return self._store.mirror.last_sequence(room, user) <= request.revision

            if stale:
                await self._remove(room, user, stale, self._grace_seconds, cause="not_announced", wanted=counted)
        return CompleteReply(outcome=Outcome.OK, missing=lacking)

    async def drop_gateway(self, gateway: GatewayId, renewed_at: float, still_dead: Callable[[], bool]) -> int:
        """Drop all connections of a dead gateway, as lost, for as long as it is dead; how many members that touched.

        `heard`: its last sign of life (the loop's time). The grace period of its members counts from then, or from
        when they were last written if that was later: some have been on another gateway since.
        Members who would leave come first. Every replica drops, each in an order of its own so that they seldom meet.
        Raises TimeoutError when one member takes too long; the others are dropped all the same.
        """
        self._check_ready()
        now = asyncio.get_running_loop().time()
        slots = asyncio.Semaphore(_DROPPED_AT_ONCE)

        async def drop(room: RoomId, user: UserId) -> bool:
            async with slots:
                mirror = self._store.mirror
                entry = mirror.entry(room, user)
                if entry is None:
                    return False
                written = self._store.ages.written(mirror.last_sequence(room, user), now)
                grace_seconds = int(max(0.0, self._grace_seconds - (now - max(renewed_at, written))))
                gone = entry.connections_of(gateway)
                async with asyncio.timeout(_DROP_SECONDS):
                    return await self._remove(
                        room, user, gone, grace_seconds, cause="lease_expired", wanted=still_dead, dead=gateway
                    )

        def would_remain(place: tuple[RoomId, UserId]) -> bool:
            entry = self._store.mirror.entry(*place)
            return entry is None or any(other != gateway for other in entry.connections.values())

        places = self._store.mirror.places_of(gateway)
        random.shuffle(places)
        places.sort(key=would_remain)
        outcomes = await asyncio.gather(*(drop(room, user) for room, user in places), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        dropped = sum(outcome is True for outcome in outcomes)
        if dropped and not self._graces.keeps_of(gateway):
            self._graces.ghosts_gone(gateway)
        return dropped

    async def compare(self, request: CompareRequest) -> CompareReply:
        """Which rooms have changed since, or have not and differ all the same. A replica that is behind cannot tell."""
        self._check_ready()
        if request.epoch == self._store.epoch:
            await self._store.check_reached(max((known.revision for known in request.rooms.values()), default=0))
        mirror, epoch = self._store.mirror, self._store.epoch
        newer, wrong = {}, []
        for room, known in request.rooms.items():
            newest = mirror.room_revision(room)
            if epoch != request.epoch or newest > known.revision:
                newer[room] = newest
            elif mirror.applied >= known.revision and mirror.digest(room) != known.digest:
                wrong.append(room)
        return CompareReply(outcome=Outcome.OK, epoch=epoch, revision=mirror.applied, newer=newer, wrong=wrong)

    async def _remove(
        self,
        room: RoomId,
        user: UserId,
        gone: set[MembershipId],
        grace_seconds: int,
        *,
        cause: str,
        wanted: Callable[[], bool] = lambda: True,
        dead: GatewayId | None = None,
    ) -> bool:
        """Take connections out of an entry; the last one takes the entry with it, or begins the grace period.

        `grace_seconds`: 0 for none.
        `wanted` is asked before every attempt: a conflict may mean that they are meant to be there after all.
        `dead`: the gateway whose death is the cause.
        False when nothing was taken out.
        """
        while wanted():
            mirror = self._store.mirror
            entry = mirror.entry(room, user)
            if entry is None or gone.isdisjoint(entry.connections):
                return False
            expected = mirror.last_sequence(room, user)
            remaining = {
                connection: gateway for connection, gateway in entry.connections.items() if connection not in gone
            }
            left = Entry.model_construct(profile=entry.profile, connections=remaining)
            try:
                if remaining:
                    stored = await self._store.put(room, user, left, expected=expected)
                elif grace_seconds:
                    stored = await self._store.put(room, user, left, expected=expected, ttl_seconds=grace_seconds)
                    self._keep_place(room, user, stored.sequence, dead)
                else:
                    stored = await self._store.purge(room, user, expected=expected)
            except Conflict:
                await self._after_conflict(room, user)
                continue
            await self._store.wait_applied(stored.sequence)
            self._metrics.leaves.labels(cause=cause).inc(len(gone & set(entry.connections)))
            return True
        return False

    def _keep_place(self, room: RoomId, user: UserId, sequence: int, dead: GatewayId | None) -> None:
        self._graces.begin(room, user, sequence, dead)
        mirror = self._store.mirror
        # The mirror may know already what became of it.
        self._graces.changed(room, user, mirror.last_sequence(room, user), mirror.entry(room, user))

    async def roster(self, request: RosterRequest) -> RosterReply:
        self._check_ready()
        return self._reply(request.room, with_members=True)

    async def rooms(self, request: RoomsRequest) -> RoomsReply:
        """From the asked place on, through the shards behind it for as long as they are served here."""
        self._check_ready()
        mirror, found = self._store.mirror, list[RoomSummary]()
        shard, after = request.shard, request.after
        while shard in self._store.shards:
            rooms = mirror.rooms_of(shard, after=after, limit=request.limit - len(found))
            found += [RoomSummary.model_construct(room=room, members=len(mirror.rooms[room])) for room in rooms]
            if len(found) >= request.limit:
                break
            shard, after = shard + 1, ""
        return RoomsReply(outcome=Outcome.OK, rooms=found, next_shard=shard if shard < SHARDS else None)

    def _reply(
        self, room: RoomId, *, sequence: int = 0, joined: RoomConnection | None = None, with_members: bool
    ) -> RosterReply:
        mirror = self._store.mirror
        return RosterReply.model_construct(
            outcome=Outcome.OK,
            epoch=self._store.epoch,
            revision=mirror.applied,
            sequence=sequence,
            joined=joined,
            members=mirror.roster(room) if with_members else None,
            room_revision=mirror.room_revision(room),
            room_digest=mirror.digest(room),
            guard_seconds=self._guard_seconds,
        )

    def _check_ready(self) -> None:
        if not self._store.ready:
            raise BusUnavailable("the presence mirror is being built")

    async def _after_conflict(self, room: RoomId, user: UserId) -> None:
        self._metrics.conflicts.inc()
        await self._store.catch_up(room, user)
