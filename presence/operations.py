"""Join, leave and roster against the store: read the mirror, compare-and-set, again on conflict."""

from presence.metrics import PresenceMetrics
from presence.store import Store
from services.bus import BusUnavailable, Conflict
from shared.ids import RoomId
from shared.presence import Entry, JoinRequest, LeaveReply, LeaveRequest, Outcome, Place, RosterReply, RosterRequest


class Operations:
    """Each method may be cancelled: the write it was in then has happened or not, and asking again is harmless.

    All raise BusError when NATS does not answer or the mirror is not ready: another replica may be.
    """

    def __init__(self, store: Store, metrics: PresenceMetrics) -> None:
        self._store = store
        self._metrics = metrics

    async def join(self, request: JoinRequest) -> RosterReply:
        """Writes always, also when the connection is in already: the event of the write is the join barrier."""
        self._check_ready()

        def with_connection(entry: Entry | None) -> Entry:
            connections = dict(entry.connections) if entry else {}
            connections[request.connection] = request.gateway
            return Entry.model_construct(profile=request.profile, connections=connections)

        while True:
            mirror = self._store.mirror
            entry = with_connection(mirror.entry(request.room, request.user))
            expected = mirror.last_sequence(request.room, request.user)
            try:
                stored = await self._store.put(request.room, request.user, entry, expected=expected)
                break
            except Conflict:
                await self._after_conflict(request)
        await self._store.wait_applied(stored.sequence)
        self._metrics.joins.inc()
        roster = self._roster(request.room, sequence=stored.sequence, with_members=request.with_roster)
        joined = Place(room=request.room, user=request.user, connection=request.connection)
        return roster.model_copy(update={"joined": joined})

    async def leave(self, request: LeaveRequest) -> LeaveReply:
        """Leaving what one is not in is no error."""
        self._check_ready()
        caught_up = False
        while True:
            mirror = self._store.mirror
            entry = mirror.entry(request.room, request.user)
            if entry is None or request.connection not in entry.connections:
                if caught_up:
                    return LeaveReply(outcome=Outcome.OK)
                # The join may have been written by another replica a moment ago.
                await self._store.catch_up(request.room, request.user)
                caught_up = True
                continue
            expected = mirror.last_sequence(request.room, request.user)
            remaining = {
                connection: gateway
                for connection, gateway in entry.connections.items()
                if connection != request.connection
            }
            try:
                if remaining:
                    left = Entry.model_construct(profile=entry.profile, connections=remaining)
                    stored = await self._store.put(request.room, request.user, left, expected=expected)
                else:
                    stored = await self._store.purge(request.room, request.user, expected=expected)
            except Conflict:
                await self._after_conflict(request)
                continue
            await self._store.wait_applied(stored.sequence)
            self._metrics.leaves.labels(cause="client").inc()
            return LeaveReply(outcome=Outcome.OK)

    async def roster(self, request: RosterRequest) -> RosterReply:
        self._check_ready()
        return self._roster(request.room, sequence=0, with_members=True)

    def _roster(self, room: RoomId, *, sequence: int, with_members: bool) -> RosterReply:
        mirror = self._store.mirror
        return RosterReply.model_construct(
            outcome=Outcome.OK,
            epoch=self._store.epoch,
            revision=mirror.applied,
            sequence=sequence,
            members=mirror.roster(room) if with_members else None,
        )

    def _check_ready(self) -> None:
        if not self._store.ready:
            raise BusUnavailable("the presence mirror is being built")

    async def _after_conflict(self, request: JoinRequest | LeaveRequest) -> None:
        self._metrics.conflicts.inc()
        await self._store.catch_up(request.room, request.user)
