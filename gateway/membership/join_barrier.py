"""The join barrier: a join waits until presence has written its entry and this gateway has received that change."""

import asyncio
from contextlib import ExitStack

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.membership.lanes import Patience
from studyroom.gateway.membership.presence_client import PresenceClient
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.room import Room
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.tracing.spans import within
from studyroom.shared.contract.ids import GatewayId, MembershipId
from studyroom.shared.contract.presence import JoinRequest, RosterReply
from studyroom.shared.contract.subjects import shard_of

log = logs.get(__name__)

_BARRIER_SECONDS = 0.1
"""If the change has not arrived after this, let presence write the entry again. It doubles each time."""
_BARRIER_MAX_SECONDS = 1.6
_CONFIRM_TIMES = 2
"""The first comparison may come too early for a write that is still in flight."""


class MembershipEnded(Exception):
    """The connection has left the room."""


class JoinBarrier:
    def __init__(self, gateway: GatewayId, presence: PresenceClient, metrics: GatewayMetrics) -> None:
        self._gateway = gateway
        self._presence = presence
        self._metrics = metrics
        self._written_in: dict[int, int] = {}
        """The shards in which presence wrote for this gateway, each with the number of comparisons that must follow."""

    def request(self, connection: Connection, room: Room, *, with_roster: bool, again: bool = False) -> JoinRequest:
        """The request for a join. `again`: the connection was in the room before."""
        self._written_in[shard_of(room.id)] = _CONFIRM_TIMES
        return JoinRequest.model_construct(
            room=room.id,
            user=connection.user,
            connection=connection.membership_id,
            gateway=self._gateway,
            profile=connection.profile,
            with_roster=with_roster,
            again=again,
            fields=dict(room.shown.fields(connection.user)) if again else {},
        )

    async def enter(
        self,
        connection: Connection,
        room: Room,
        membership_id: MembershipId,
        *,
        patience: Patience,
        again: bool = False,
    ) -> int:
        """Returns when presence has the connection, and the room's roster here is consistent and includes it.

        The result is the number of changes that rosters from presence made here. `again`: the connection was in the
        room before. Raises MembershipEnded if the membership ends before a request, and all that `PresenceClient.join`
        raises.
        """
        needs_roster = False
        barrier = _BARRIER_SECONDS
        first, first_epoch = 0, ""
        sent = 0
        proven = False  # a roster was requested after the one here was found wrong
        while True:
            attempt = _JoinAttempt(self, connection, room, membership_id, needs_roster=needs_roster, again=again)
            reply, differences = await attempt.send(self._presence, patience)
            sent += differences
            pending_roster = attempt.pending_roster
            if reply.epoch != room.epoch:
                needs_roster = True
                if pending_roster is not None:
                    await asyncio.wait([pending_roster])
                if reply.epoch != room.epoch:
                    continue
            if reply.epoch != first_epoch:
                first, first_epoch = reply.sequence, reply.epoch
            try:
                with within("wait for the change"):
                    async with asyncio.timeout(barrier):
                        await room.wait_for_change(first)
            except TimeoutError:
                self._metrics.barrier_retries.inc()
                needs_roster = False
                barrier = min(2 * barrier, _BARRIER_MAX_SECONDS)
                continue
            if reply.members is None and not proven and room.misses_changes(reply):
                log.warning("the bus lost changes of a room, loading its roster again", room=room.id)
                self._metrics.lost_changes.inc()
                needs_roster = proven = True
                continue
            return sent

    @property
    def unconfirmed(self) -> set[int]:
        """The shards with recent joins, which must be compared with presence."""
        return set(self._written_in)

    def confirmed(self, shard: int) -> None:
        """Presence has compared the connections of this gateway in the shard."""
        self._written_in[shard] -= 1
        if not self._written_in[shard]:
            del self._written_in[shard]


class _JoinAttempt:
    """A join request, made when it is sent, because another join may have loaded the roster by then."""

    def __init__(
        self,
        join_barrier: JoinBarrier,
        connection: Connection,
        room: Room,
        membership_id: MembershipId,
        *,
        needs_roster: bool,
        again: bool,
    ) -> None:
        self._join_barrier = join_barrier
        self._connection = connection
        self._room = room
        self._membership_id = membership_id
        self._needs_roster = needs_roster
        self._again = again
        self._fetching = ExitStack()
        self._with_roster = False
        self.pending_roster: asyncio.Future[None] | None = None
        """Set if another join is fetching the roster. Done when that has ended."""

    async def send(self, presence: PresenceClient, patience: Patience) -> tuple[RosterReply, int]:
        """Let presence write the entry. If the reply has a roster, loads it. Returns the number of changes it made."""
        with self._fetching:
            reply = await presence.join(self._room.id, self._request, patience=patience, restores=self._again)
            return reply, self._room.load(reply) if self._with_roster else 0

    def _request(self) -> JoinRequest:
        """Raises MembershipEnded."""
        room = self._room
        if self._connection.membership_id != self._membership_id or not self._connection.is_member:
            raise MembershipEnded
        if self._needs_roster or not room.consistent:
            self.pending_roster = room.pending_roster
            if self.pending_roster is None:
                self._with_roster = True
                self._fetching.enter_context(room.fetching_roster())
        return self._join_barrier.request(self._connection, room, with_roster=self._with_roster, again=self._again)
