"""Carries out requests on a store: read the mirror, compare and set, and repeat after a conflict."""

import asyncio
import random
from collections.abc import Callable

from studyroom.presence.grace import GracePeriods
from studyroom.presence.metrics import PresenceMetrics
from studyroom.presence.store import Store
from studyroom.shared.chassis.nats.bus import BusUnavailable, Conflict, StorageFull
from studyroom.shared.contract.custom_presence import fields_bytes, merged
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
    RosterReply,
    RosterRequest,
    UpdateReply,
    UpdateRequest,
)

_DROP_SECONDS = 5.0
_DROPPED_AT_ONCE = 64
_STORAGE_FULL = RosterReply(outcome=Outcome.UNAVAILABLE, storage_full=True)
_ENDED = RosterReply(outcome=Outcome.UNAVAILABLE)


class Operations:
    """The requests to presence about a room or a shard, one method each.

    You may cancel each method: its last write has happened or not, and repeating the request is harmless.
    All methods raise BusError if NATS does not answer or the mirror is not ready. Another replica may be ready.
    """

    def __init__(
        self,
        store: Store,
        metrics: PresenceMetrics,
        grace_periods: GracePeriods,
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
        self._grace_periods = grace_periods

    async def join(self, request: JoinRequest) -> RosterReply:
        """Add a connection to a room, and answer with the roster.

        It writes the entry even if the connection is in the room already, because the gateway waits for the event of
        the write (the join barrier). Each replica counts members on its own, so concurrent joins at two replicas can
        exceed the capacity of a room.

        A gateway repeats a join until it has an answer, so a replica may come to one after the leave of the same
        membership. It does not carry that out, or others would see the user come and go again. A gateway that still has
        the member may restore it (`again`).
        """
        self._check_ready()

        def with_connection(entry: Entry | None) -> Entry:
            connections = dict(entry.connections) if entry else {}
            connections[request.connection] = request.gateway
            if entry is not None:
                return entry.with_connections(connections, request.profile)
            return Entry.model_construct(profile=request.profile, connections=connections, fields=request.fields)

        while True:
            mirror = self._store.mirror
            if not request.again and mirror.has_ended(request.connection):
                return _ENDED
            if not request.again and mirror.is_full(request.room, self._room_capacity, joining=request.user):
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
                self._store.capacity.count_refusal()
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
        """Return whether the bucket has room for the join. Connections that were in the room before always have it."""
        capacity, applied = self._store.capacity, self._store.mirror.applied
        if request.again or (before is not None and request.connection in before.connections):
            return True
        return capacity.has_room_for_members(applied) if before is None else capacity.has_room_for_connections(applied)

    async def leave(self, request: LeaveRequest) -> LeaveReply:
        """Remove a connection from a room. A connection that is not in the room causes no error."""
        self._check_ready()
        gone = {request.connection}
        self._store.mirror.end(request.connection)  # before its join, if that comes later
        cause, grace_seconds = "client", 0
        if request.lost:
            cause, grace_seconds = "lost", max(self._grace_seconds, request.keep_seconds)
        if not await self._remove(
            request.room, request.user, gone, grace_seconds, cause=cause, ended=request.connection
        ):
            # The join may have been written by another replica a moment ago.
            await self._store.catch_up(request.room, request.user)
            await self._remove(request.room, request.user, gone, grace_seconds, cause=cause, ended=request.connection)
        return LeaveReply(outcome=Outcome.OK)

    async def update(self, request: UpdateRequest) -> UpdateReply:
        """Change fields of a member's custom presence.

        A gateway repeats an update until it has an answer, so a replica may come to one after a newer update of the
        same membership. It does not carry that out.
        """
        self._check_ready()
        room, user, membership = request.room, request.user, request.connection
        if not self._store.mirror.has_membership(room, user, membership):
            # The join may have been written by another replica a moment ago.
            await self._store.catch_up(room, user)
        while True:
            mirror = self._store.mirror
            entry = mirror.entry(room, user)
            if entry is None or membership not in entry.connections:
                return UpdateReply(outcome=Outcome.NOT_MEMBER)
            if request.number <= entry.updates.get(membership, 0):
                return self._updated(mirror.last_sequence(room, user))
            fields = merged(entry.fields, request.fields)
            if fields_bytes(fields) > max(request.max_bytes, fields_bytes(entry.fields)):
                return UpdateReply(outcome=Outcome.TOO_LARGE)
            if not self._store.capacity.has_room_for_connections(mirror.applied):
                return UpdateReply(outcome=Outcome.UNAVAILABLE)
            updates = {**entry.updates, membership: request.number}
            changed = entry.model_copy(update={"fields": fields, "updates": updates})
            try:
                stored = await self._store.put(room, user, changed, expected=mirror.last_sequence(room, user))
            except Conflict:
                await self._after_conflict(room, user)
                continue
            await self._store.wait_applied(stored.sequence)
            self._metrics.updates.inc()
            return self._updated(stored.sequence)

    def _updated(self, sequence: int) -> UpdateReply:
        return UpdateReply(outcome=Outcome.OK, epoch=self._store.epoch, sequence=sequence)

    async def complete(self, request: CompleteRequest) -> CompleteReply:
        """Drop the connections of a gateway that it does not announce, and return those that the mirror lacks."""
        self._check_ready()
        if request.epoch != self._store.epoch:
            raise BusUnavailable("the gateway's announcement is from another epoch")
        await self._store.wait_applied(request.revision)
        mirror = self._store.mirror
        lacking = set(request.connections if request.connections is not None else request.some)
        for room, user in mirror.members_in_shard(request.shard, request.gateway):
            entry = mirror.entry(room, user)
            if entry is None:
                continue
            held = entry.connections_of(request.gateway)
            lacking -= held
            if mirror.last_sequence(room, user) > request.revision:
                continue
            stale = request.missing(held)

            def is_unchanged(room: RoomId = room, user: UserId = user) -> bool:
                return self._store.mirror.last_sequence(room, user) <= request.revision

            if stale:
                await self._remove(room, user, stale, self._grace_seconds, cause="not_announced", wanted=is_unchanged)
        return CompleteReply(outcome=Outcome.OK, missing=lacking)

    async def drop_gateway(self, gateway: GatewayId, renewed_at: float, still_dead: Callable[[], bool]) -> int:
        """Drop all connections of a dead gateway as lost, while it is dead. Return the number of changed members.

        `renewed_at`: the gateway's last renewal, in the loop's time. The grace period of a member counts from then, or
        from the last write of the entry if that was later, because the member may have been on another gateway since.
        Members without another connection come first. Every replica drops in a random order, to avoid conflicts.
        Raises BusError, or TimeoutError if one member takes longer than 5 s. It tries all other members first.
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
                written = self._store.commit_times.committed_by(mirror.last_sequence(room, user), now)
                grace_seconds = int(max(0.0, self._grace_seconds - (now - max(renewed_at, written))))
                gone = entry.connections_of(gateway)
                async with asyncio.timeout(_DROP_SECONDS):
                    return await self._remove(
                        room, user, gone, grace_seconds, cause="lease_expired", wanted=still_dead, dead=gateway
                    )

        def would_remain(member: tuple[RoomId, UserId]) -> bool:
            entry = self._store.mirror.entry(*member)
            return entry is None or any(other != gateway for other in entry.connections.values())

        members = self._store.mirror.members_of(gateway)
        random.shuffle(members)
        members.sort(key=would_remain)
        outcomes = await asyncio.gather(*(drop(room, user) for room, user in members), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return sum(outcome is True for outcome in outcomes)

    async def compare(self, request: CompareRequest) -> CompareReply:
        """Return the rooms that have changed since the gateway's revision, and those that differ without a change.

        A replica that has not reached the gateway's revision of a room does not compare that room.
        """
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
        ended: MembershipId | None = None,
    ) -> bool:
        """Remove connections from an entry. Without any left, the grace period begins, or the key is purged.

        `grace_seconds`: 0 for no grace period.
        `wanted`: called before every attempt, since after a conflict the connections may have to stay.
        `dead`: the gateway whose death is the cause. `ended`: the membership whose leave is the cause.
        Return whether anything was removed.
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
            left = entry.with_connections(remaining)
            try:
                if remaining:
                    stored = await self._store.put(room, user, left, expected=expected, ended=ended)
                elif grace_seconds:
                    stored = await self._store.put(
                        room, user, left, expected=expected, ttl_seconds=grace_seconds, ended=ended
                    )
                    self._begin_grace_period(room, user, stored.sequence, dead)
                else:
                    stored = await self._store.purge(room, user, expected=expected, ended=ended)
            except Conflict:
                await self._after_conflict(room, user)
                continue
            await self._store.wait_applied(stored.sequence)
            self._metrics.leaves.labels(cause=cause).inc(len(gone & set(entry.connections)))
            return True
        return False

    def _begin_grace_period(self, room: RoomId, user: UserId, sequence: int, dead: GatewayId | None) -> None:
        self._grace_periods.begin(room, user, sequence, dead)
        mirror = self._store.mirror
        # The mirror may have a newer change of this member already.
        self._grace_periods.changed(room, user, mirror.last_sequence(room, user), mirror.entry(room, user))

    async def roster(self, request: RosterRequest) -> RosterReply:
        self._check_ready()
        return self._reply(request.room, with_members=True)

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
            raise BusUnavailable("the presence mirror is not ready")

    async def _after_conflict(self, room: RoomId, user: UserId) -> None:
        self._metrics.conflicts.inc()
        await self._store.catch_up(room, user)
