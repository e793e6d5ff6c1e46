"""Telling presence anew who is here: after a doubt, when somebody is missed, and every so often what is complete.

Only what differs is written. Presence and the gateway compare their rosters, and the connections that each of them has.
"""

import asyncio
import random
from collections.abc import Iterator

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.membership.join_barrier import JoinBarrier, MembershipEnded
from studyroom.gateway.membership.lanes import Patience
from studyroom.gateway.membership.leaves import Leaves
from studyroom.gateway.membership.pending import PendingWork
from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.shared.chassis import logs
from studyroom.shared.contract.ids import ConnectionId, GatewayId, MembershipId, connection_of
from studyroom.shared.contract.presence import (
    CompareReply,
    CompareRequest,
    CompleteRequest,
    JoinRequest,
    RoomConnection,
)
from studyroom.shared.contract.subjects import shard_of

log = logs.get(__name__)

_ANSWER_SECONDS = 5.0
_REFRESH_ATTEMPTS = 3
_SPREAD_SECONDS = 0.5
_SPREAD_FROM_ROOMS = 32
_NOTHING = CompareRequest(epoch="", rooms={})
"""Asks only for what presence has applied."""


class Reannouncement:
    def __init__(
        self,
        gateway: GatewayId,
        rooms: Rooms,
        connections: Registry[Connection],
        presence: PresenceClient,
        metrics: GatewayMetrics,
        join_barrier: JoinBarrier,
        leaves: Leaves,
        pending: PendingWork,
    ) -> None:
        self._gateway = gateway
        self._rooms = rooms
        self._presence = presence
        self._metrics = metrics
        self._join_barrier = join_barrier
        self._leaves = leaves
        self._pending = pending
        self._connections = connections
        self._restoring: dict[ConnectionId, asyncio.Task[None]] = {}
        self._once_more: set[ConnectionId] = set()
        """Those that are missed again while they are being restored."""
        self._refreshing: dict[Room, asyncio.Task[None]] = {}
        self._refresh_once_more: set[Room] = set()

    async def announce(self, shard: int) -> None:
        """Tell presence all connections we have in a shard, and put right what differs, here and there.

        Raises PresenceRefused, or TimeoutError when nobody serves the shard.
        """
        async with asyncio.timeout(_ANSWER_SECONDS):
            rooms = self._rooms.in_shard(shard)
            differing, bound = await self._compare(shard, rooms)
            # First what is too much: restoring makes entries newer than the count, and those are spared.
            missing = await self._announce_all(shard, bound)
        if missing is None:
            missing = self._memberships_in(shard)
        spread_seconds = _SPREAD_SECONDS if len(differing) > _SPREAD_FROM_ROOMS else 0.0
        await asyncio.gather(
            *(self._refresh_later(room, random.uniform(0, spread_seconds)) for room in differing),  # noqa: S311
            *(asyncio.shield(task) for task in self._put_back_those(missing)),
        )

    async def _compare(self, shard: int, rooms: list[Room]) -> tuple[list[Room], CompareReply]:
        """Rooms that are to be taken anew, and what presence said. Raises PresenceRefused."""
        epoch = next((room.epoch for room in rooms if room.epoch), "")
        asked = {room.id: room.state for room in rooms if room.epoch == epoch}
        reply = await self._presence.compare(shard, CompareRequest(epoch=epoch, rooms=asked))
        # What was received before a reconnect has been handled by now: what is heard from here on is proof.
        differing = []
        for room in self._rooms.in_shard(shard):
            known = asked.get(room.id)
            room.invalidate()
            if (
                known is None
                or reply.epoch != room.epoch
                or reply.revision < known.revision
                or room.id in reply.newer
                or room.id in reply.wrong
            ):
                differing.append(room)
            else:
                room.confirm(reply.revision)
        return differing, reply

    @property
    def unconfirmed(self) -> list[int]:
        """Shards in which anybody has joined of late."""
        return self._join_barrier.unconfirmed

    async def confirm(self, shard: int) -> None:
        """Tell presence all connections we have in a shard, and put back who is missing.

        A write that was not acknowledged, or whose reply was lost, can be committed after its connection has left.
        Raises PresenceRefused or TimeoutError.
        """
        await self.announce_all(shard)
        self._join_barrier.confirmed(shard)

    async def announce_all(self, shard: int) -> None:
        """Raises PresenceRefused or TimeoutError."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            missing = await self._announce_all(shard, await self._presence.compare(shard, _NOTHING))
        self._put_back_those(missing or set())

    async def _announce_all(self, shard: int, bound: CompareReply) -> set[MembershipId] | None:
        """`bound`: what presence had applied before we count. What it does not have; None when it does not say.

        Raises PresenceRefused.
        """
        reply = await self._presence.complete(
            CompleteRequest.model_construct(
                gateway=self._gateway,
                shard=shard,
                epoch=bound.epoch,
                revision=bound.revision,
                connections=self._memberships_in(shard) | self._leaves.in_shard(shard),
            )
        )
        return reply.missing

    def _put_back_those(self, missing: set[MembershipId]) -> list[asyncio.Task[None]]:
        """Restore those that are in a room here."""
        found = (self._connections.get(connection_of(membership_id)) for membership_id in missing)
        members = [member for member in found if member is not None and member.membership_id in missing]
        return [self.restore(member) for member in members if member.room is not None]

    def _memberships_in(self, shard: int) -> set[MembershipId]:
        return {connection.membership_id for connection in self._connections_in(shard)}

    def _connections_in(self, shard: int) -> Iterator[Connection]:
        for connection in self._connections:
            room = connection.in_or_joining
            if room is not None and shard_of(room) == shard:
                yield connection

    # --- connections --------------------------------------------------------------------------------------

    def restore(self, connection: Connection) -> asyncio.Task[None]:
        """Put a connection back that presence may not have; the task ends when it has."""
        task = self._restoring.get(connection.id)
        if task is None:
            task = self._restoring[connection.id] = self._pending.begin("restore", self._restore(connection))
        else:
            self._once_more.add(connection.id)
        return task

    async def _restore(self, connection: Connection) -> None:
        try:
            while connection.room is not None:
                self._once_more.discard(connection.id)
                await self._put_back(connection, connection.room)
                if connection.id not in self._once_more:
                    return
        except MembershipEnded:
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
        place = connection.place(room.id)

        def request() -> JoinRequest:
            if connection.membership_id != place.connection:
                raise MembershipEnded
            self._metrics.restored.inc()
            return self._join_barrier.request(connection, room.id, with_roster=False, again=True)

        patience = Patience(_ANSWER_SECONDS)
        try:
            async with patience:
                await self._presence.join(room.id, request, patience=patience, restores=True)
        finally:
            if patience.asked:
                self._withdraw_if_gone(place, connection)

    # --- rooms --------------------------------------------------------------------------------------------

    async def _refresh_later(self, room: Room, wait_seconds: float) -> None:
        """`wait_seconds`: until the roster is asked for, so that not all gateways ask for all rosters at once."""
        await asyncio.sleep(wait_seconds)
        await asyncio.shield(self.refresh(room))

    def refresh(self, room: Room) -> asyncio.Task[None]:
        """Take a room's roster anew, as a join does, and tell its members the difference; the task ends then."""
        task = self._refreshing.get(room)
        if task is None:
            task = self._refreshing[room] = self._pending.begin("refresh", self._refresh(room))
        else:
            self._refresh_once_more.add(room)
        return task

    async def _refresh(self, room: Room) -> None:
        try:
            while True:
                self._refresh_once_more.discard(room)
                await self._reload(room)
                if room not in self._refresh_once_more:
                    return
        finally:
            del self._refreshing[room]
            self._refresh_once_more.discard(room)

    async def _reload(self, room: Room) -> None:
        for _ in range(_REFRESH_ATTEMPTS):
            room.invalidate()
            connection = next((member for member in _connections(room) if member.is_member), None)
            if connection is None:
                return
            place = connection.place(room.id)
            patience = Patience(_ANSWER_SECONDS)
            try:
                async with patience:
                    self._metrics.resync_differences.inc(
                        await self._join_barrier.enter(
                            connection, room, place.connection, patience=patience, again=True
                        )
                    )
                return
            except (TimeoutError, MembershipEnded):
                continue
            except PresenceRefused as error:
                log.error("a member could not be put back", error=str(error))
                return
            finally:
                if patience.asked:
                    self._withdraw_if_gone(place, connection)
        log.error("a room's roster could not be taken anew", room=room.id)

    def _withdraw_if_gone(self, place: RoomConnection, connection: Connection) -> None:
        """It may have left while it was being put back: undo a join that may have been written."""
        if not connection.holds_or_will(place):
            lost = not connection.open and not connection.gone_for_good
            self._leaves.send(place, lost=lost, keep_seconds=connection.keep_seconds)

    def is_present(self, place: RoomConnection) -> None:
        """Presence has this. If nobody is there, a join was carried out after it was given up, or after its leave."""
        connection = self._connections.get(connection_of(place.connection))
        if place in self._leaves:
            return
        if connection is None:
            self._leaves.send(place, lost=True)
        else:
            self._withdraw_if_gone(place, connection)


def _connections(room: Room) -> Iterator[Connection]:
    """Those that are in the room. Authors that have left it may still be sent what they said."""
    return (one for one in room.fanout if isinstance(one, Connection) and one.room is room)
