"""Having a connection's entry written by presence, and heard: the join barrier."""

import asyncio

from gateway.connection import Connection
from gateway.metrics import GatewayMetrics
from gateway.presence_client import PresenceClient
from gateway.room import Room
from shared.ids import GatewayId, RoomId, StayId
from shared.presence import JoinRequest, RosterReply
from shared.subjects import shard_of

_BARRIER_SECONDS = 0.1
"""A committed change of one's own that has not been heard by then is asked for again; doubled each time."""
_BARRIER_MAX_SECONDS = 1.6
_CONFIRMED_TIMES = 2
"""The first time may be too early for a write that is on its way."""


class StayEnded(Exception):
    """The connection has left the room meanwhile."""


class Entering:
    def __init__(self, gateway: GatewayId, presence: PresenceClient, metrics: GatewayMetrics) -> None:
        self._gateway = gateway
        self._presence = presence
        self._metrics = metrics
        self._written_in: dict[int, int] = {}
        """Shards in which anything was written, and how often they are to be confirmed."""

    def request(self, connection: Connection, room: RoomId, *, with_roster: bool, again: bool = False) -> JoinRequest:
        self._written_in[shard_of(room)] = _CONFIRMED_TIMES
        return JoinRequest.model_construct(
            room=room,
            user=connection.user,
            connection=connection.stay,
            gateway=self._gateway,
            profile=connection.profile,
            with_roster=with_roster,
            again=again,
        )

    async def enter(
        self, connection: Connection, room: Room, *, again: bool = False, only: StayId | None = None
    ) -> int:
        """Returns when presence has the connection and the room's roster here is consistent and contains it.

        How many changes the members here were told of. Raises StayEnded when `only` is not its stay any more.
        """
        with_roster = not room.consistent
        barrier = _BARRIER_SECONDS
        first, first_epoch = 0, ""
        told = 0
        while True:
            if only is not None and connection.stay != only:
                raise StayEnded
            elsewhere = room.roster_under_way if with_roster else None
            reply, differences = await self._ask(
                connection, room, with_roster=with_roster and elsewhere is None, again=again
            )
            told += differences
            if reply.epoch != room.epoch:
                with_roster = True
                if elsewhere is not None:
                    await asyncio.wait([elsewhere])
                if reply.epoch != room.epoch:
                    continue
            if reply.epoch != first_epoch:
                first, first_epoch = reply.sequence, reply.epoch
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
        request = self.request(connection, room.id, with_roster=with_roster, again=again)
        if not with_roster:
            return await self._presence.join(request), 0
        with room.taking_roster():
            reply = await self._presence.join(request)
            return reply, room.load(reply)

    # --- what is to be confirmed --------------------------------------------------------------------------

    @property
    def unconfirmed(self) -> list[int]:
        """Shards in which anybody has joined of late."""
        return list(self._written_in)

    def confirmed(self, shard: int) -> None:
        self._written_in[shard] -= 1
        if not self._written_in[shard]:
            del self._written_in[shard]
