"""Repairs the differences between presence and this gateway in a shard, in rosters and in connections.

They compare first, so only differences cost writes. Presence drops connections that this gateway does not have. The
gateway restores its members that presence lacks, and refreshes rooms whose rosters differ.
"""

import asyncio
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
from studyroom.shared.chassis.repairs import Repairs
from studyroom.shared.chassis.sharing import result_of
from studyroom.shared.contract.ids import GatewayId, MembershipId, connection_of
from studyroom.shared.contract.presence import (
    CompareReply,
    CompareRequest,
    CompleteRequest,
    JoinRequest,
    RoomConnection,
)

log = logs.get(__name__)

_ANSWER_SECONDS = 5.0
_REFRESH_ATTEMPTS = 3
_NO_ROOMS = CompareRequest(epoch="", rooms={})
"""Requests only the epoch, and the revision that presence has applied."""


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
        self._connections = connections
        # Both give up after a while. The next comparison finds the differences that remain.
        self._restores = Repairs[Connection](pending.begin, "restore", self._restore)
        self._refreshes = Repairs[Room](pending.begin, "refresh", self._refresh)

    async def announce(self, shard: int) -> None:
        """Send presence all connections of this gateway in a shard, and repair the differences on both sides.

        Raises PresenceRefused, or TimeoutError if no replica serves the shard.
        """
        async with asyncio.timeout(_ANSWER_SECONDS):
            differing, bound = await self._compare(shard)
            # This comes before any repair: presence drops only entries up to the bound, and a repair writes newer ones.
            missing = await self._announce_all(shard, bound)
        if missing is None:
            missing = self._memberships_in(shard)
        repairs = [*self._refreshes.invalidate_all(differing), *self._restore_all(missing)]
        await asyncio.gather(*map(result_of, repairs))

    async def _compare(self, shard: int) -> tuple[list[Room], CompareReply]:
        """Returns the rooms whose rosters differ, and the reply. Raises PresenceRefused."""
        rooms = self._rooms.in_shard(shard)
        epoch = next((room.epoch for room in rooms if room.epoch), "")
        states = {room.id: room.state for room in rooms if room.epoch == epoch}
        reply = await self._presence.compare(shard, CompareRequest(epoch=epoch, rooms=states))
        # All messages from before a reconnect were handled by now. A change that arrives from here on proves that the
        # subscription works.
        differing = []
        for room in self._rooms.in_shard(shard):
            known = states.get(room.id)
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

    async def announce_all(self, shard: int) -> None:
        """Send presence all connections of this gateway in a shard, and begin to restore those that presence lacks.

        Raises PresenceRefused or TimeoutError.
        """
        async with asyncio.timeout(_ANSWER_SECONDS):
            missing = await self._announce_all(shard, await self._presence.compare(shard, _NO_ROOMS))
        self._restore_all(missing or set())

    async def _announce_all(self, shard: int, bound: CompareReply) -> set[MembershipId] | None:
        """`bound`: what presence had applied before the connections are counted here.

        Returns the memberships that presence lacks; None when it cannot know them. Raises PresenceRefused.
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

    def _memberships_in(self, shard: int) -> set[MembershipId]:
        """Those of members and of joins in progress. It does not look at all connections, which may be very many."""
        found = set()
        for room in self._rooms.in_shard(shard):
            for recipient in room.fanout:
                connection = self._connections.get(recipient.id)
                if connection is not None and connection.in_or_joining == room.id:
                    found.add(connection.membership_id)
        for membership in self._leaves.joining_in(shard):
            connection = self._connections.get(connection_of(membership.connection))
            if connection is not None and connection.claims(membership):
                found.add(membership.connection)
        return found

    # --- connections --------------------------------------------------------------------------------------

    def _restore_all(self, missing: set[MembershipId]) -> list[asyncio.Task[None]]:
        """Restore the memberships that have not ended here."""
        found = (self._connections.get(connection_of(membership_id)) for membership_id in missing)
        members = [member for member in found if member is not None and member.membership_id in missing]
        return [self.restore(member) for member in members if member.room is not None]

    def restore(self, connection: Connection) -> asyncio.Task[None]:
        """Let presence write a member again that it may lack. The task ends when that is done, or has failed."""
        return self._restores.invalidate(connection)

    async def _restore(self, connection: Connection) -> None:
        if connection.room is None:
            return
        try:
            await self._write_again(connection, connection.room)
        except MembershipEnded:
            return
        except TimeoutError:
            log.warning("a member is not restored yet", room=connection.room.id if connection.room else None)
        except PresenceRefused as error:
            log.error("presence refused to restore a member", error=str(error))

    async def _write_again(self, connection: Connection, room: Room) -> None:
        """Raises TimeoutError, MembershipEnded or PresenceRefused."""
        membership = connection.membership_in(room.id)

        def request() -> JoinRequest:
            if connection.membership_id != membership.connection:
                raise MembershipEnded
            self._metrics.restored.inc()
            return self._join_barrier.request(connection, room, with_roster=False, again=True)

        patience = Patience(_ANSWER_SECONDS)
        try:
            async with patience:
                await self._presence.join(room.id, request, patience=patience, restores=True)
        finally:
            if patience.started:
                self._withdraw_if_gone(membership, connection)

    # --- rooms --------------------------------------------------------------------------------------------

    def refresh(self, room: Room) -> asyncio.Task[None]:
        """Load a room's roster again, as a join does, and send its members the differences. The task ends then."""
        return self._refreshes.invalidate(room)

    async def _refresh(self, room: Room) -> None:
        for _ in range(_REFRESH_ATTEMPTS):
            room.invalidate()
            connection = next((member for member in _connections(room) if member.is_member), None)
            if connection is None:
                return
            membership = connection.membership_in(room.id)
            patience = Patience(_ANSWER_SECONDS)
            try:
                async with patience:
                    self._metrics.resync_differences.inc(
                        await self._join_barrier.enter(
                            connection, room, membership.connection, patience=patience, again=True
                        )
                    )
                return
            except (TimeoutError, MembershipEnded):
                continue
            except PresenceRefused as error:
                log.error("presence refused to refresh a room", error=str(error))
                return
            finally:
                if patience.started:
                    self._withdraw_if_gone(membership, connection)
        log.error("failed to refresh a room", room=room.id)

    def _withdraw_if_gone(self, membership: RoomConnection, connection: Connection) -> None:
        """If the member left during its repair, undo a join that presence may have written."""
        if not connection.claims(membership):
            lost = not connection.open and not connection.gone_for_good
            self._leaves.send(membership, lost=lost, keep_seconds=connection.keep_seconds)

    def is_present(self, membership: RoomConnection) -> None:
        """Presence has this membership. If it has ended here, presence carried out its join too late, so undo it."""
        connection = self._connections.get(connection_of(membership.connection))
        if membership in self._leaves:
            return
        if connection is None:
            self._leaves.send(membership, lost=True)
        else:
            self._withdraw_if_gone(membership, connection)


def _connections(room: Room) -> Iterator[Connection]:
    """The connections that are in the room. Others in the fan-out are authors that have left, and wait for messages."""
    return (member for member in room.fanout if isinstance(member, Connection) and member.room is room)
