"""The join barrier: presence has written a connection's entry, and this gateway has received that change."""

import asyncio
from contextlib import ExitStack

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.membership.lanes import Patience
from studyroom.gateway.membership.presence_client import PresenceClient
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.room import Room
from studyroom.shared.chassis import logs
from studyroom.shared.contract.ids import GatewayId, MembershipId, RoomId
from studyroom.shared.contract.presence import JoinRequest, RosterReply
from studyroom.shared.contract.subjects import shard_of

log = logs.get(__name__)

_BARRIER_SECONDS = 0.1
"""If the change has not arrived by then, presence is asked to write the entry again. Doubled each time."""
_BARRIER_MAX_SECONDS = 1.6
_CONFIRMED_TIMES = 2
"""The first time may be too early for a write that is still on its way."""


class MembershipEnded(Exception):
    """The connection has left the room."""


class JoinBarrier:
    def __init__(self, gateway: GatewayId, presence: PresenceClient, metrics: GatewayMetrics) -> None:
        self._gateway = gateway
        self._presence = presence
        self._metrics = metrics
        self._written_in: dict[int, int] = {}
        """Shards in which presence wrote for this gateway, and how many more times each will be confirmed."""

    def request(self, connection: Connection, room: RoomId, *, with_roster: bool, again: bool = False) -> JoinRequest:
        self._written_in[shard_of(room)] = _CONFIRMED_TIMES
        return JoinRequest.model_construct(
            room=room,
            user=connection.user,
            connection=connection.membership_id,
            gateway=self._gateway,
            profile=connection.profile,
            with_roster=with_roster,
            again=again,
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
        """Returns when presence has the connection, and the room's roster here is consistent and contains it.

        Returns how many changes members here got meanwhile. `again`: the connection was in the room before. Raises
        MembershipEnded when the membership is over before a request, and what `PresenceClient.join` raises.
        """
        needs_roster = False
        barrier = _BARRIER_SECONDS
        first, first_epoch = 0, ""
        sent = 0
        proven = False  # presence was asked for a roster after the one here was found wrong
        while True:
            question = _JoinAttempt(self, connection, room, membership_id, needs_roster=needs_roster, again=again)
            reply, differences = await question.put(self._presence, patience)
            sent += differences
            elsewhere = question.elsewhere
            if reply.epoch != room.epoch:
                needs_roster = True
                if elsewhere is not None:
                    await asyncio.wait([elsewhere])
                if reply.epoch != room.epoch:
                    continue
            if reply.epoch != first_epoch:
                first, first_epoch = reply.sequence, reply.epoch
            try:
                async with asyncio.timeout(barrier):
                    await room.wait_for_change(first)
            except TimeoutError:
                self._metrics.barrier_retries.inc()
                needs_roster = False
                barrier = min(2 * barrier, _BARRIER_MAX_SECONDS)
                continue
            if reply.members is None and not proven and room.misses_changes(reply):
                log.warning("the bus lost changes of a room: its roster is asked for again", room=room.id)
                self._metrics.lost_changes.inc()
                needs_roster = proven = True
                continue
            return sent

    @property
    def unconfirmed(self) -> set[int]:
        """Shards in which anyone has joined recently."""
        return set(self._written_in)

    def confirmed(self, shard: int) -> None:
        """Presence has compared its connections of this gateway in the shard with those that are here."""
        self._written_in[shard] -= 1
        if not self._written_in[shard]:
            del self._written_in[shard]


class _JoinAttempt:
    """A join request, made at the moment it is sent: other joins may have brought the roster by then."""

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
        self._taking = ExitStack()
        self._takes = False
        self.elsewhere: asyncio.Future[None] | None = None
        """Done when another join has taken the roster that this one needs too."""

    async def put(self, presence: PresenceClient, patience: Patience) -> tuple[RosterReply, int]:
        """Have the entry written. If the answer has a roster, the room takes it; returns how many changes that made."""
        with self._taking:
            reply = await presence.join(self._room.id, self._request, patience=patience, restores=self._again)
            return reply, self._room.load(reply) if self._takes else 0

    def _request(self) -> JoinRequest:
        """Raises MembershipEnded."""
        room = self._room
        if self._connection.membership_id != self._membership_id or not self._connection.is_member:
            raise MembershipEnded
        if self._needs_roster or not room.consistent:
            self.elsewhere = room.pending_roster
            if self.elsewhere is None:
                self._takes = True
                self._taking.enter_context(room.fetching_roster())
        return self._join_barrier.request(self._connection, room.id, with_roster=self._takes, again=self._again)
