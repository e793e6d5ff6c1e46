"""Telling presence anew who is here: after a doubt, when somebody is missed, and every so often what is complete."""

import asyncio
import random
from collections.abc import Iterator, Mapping

from gateway.connection import Connection
from gateway.entering import Entering, StayEnded
from gateway.leaves import Leaves
from gateway.metrics import GatewayMetrics
from gateway.presence_client import PresenceClient, PresenceRefused
from gateway.room import Room
from gateway.rooms import Rooms
from gateway.under_way import UnderWay
from services import logs
from shared.ids import ConnectionId, GatewayId, connection_of
from shared.presence import CompareReply, CompareRequest, CompleteRequest, Place
from shared.subjects import shard_of

log = logs.get(__name__)

_ANSWER_SECONDS = 5.0
_REFRESH_ATTEMPTS = 3
_RESTORED_AT_ONCE = 64
_SPREAD_SECONDS = 0.5
_SPREAD_FROM_ROOMS = 32
_NOTHING = CompareRequest(epoch="", rooms={})
"""Asks only for what presence has applied."""


class Reannouncement:
    def __init__(
        self,
        gateway: GatewayId,
        rooms: Rooms,
        presence: PresenceClient,
        metrics: GatewayMetrics,
        entering: Entering,
        leaves: Leaves,
        under_way: UnderWay,
        *,
        connections: Mapping[ConnectionId, Connection],
    ) -> None:
        """`connections`: those that are open."""
        self._gateway = gateway
        self._rooms = rooms
        self._presence = presence
        self._metrics = metrics
        self._entering = entering
        self._leaves = leaves
        self._under_way = under_way
        self._connections = connections
        self._restore_slots = asyncio.Semaphore(_RESTORED_AT_ONCE)
        self._restoring: dict[ConnectionId, asyncio.Task[None]] = {}
        self._once_more: set[ConnectionId] = set()
        """Those that are missed again while they are being restored."""

    async def announce(self, shard: int) -> None:
        """Tell presence all connections we have in a shard, and take the rosters of its rooms anew.

        Raises PresenceRefused, or TimeoutError when nobody serves the shard.
        """
        async with asyncio.timeout(_ANSWER_SECONDS):
            bound = await self._presence.compare(shard, self._newest_known(shard))
            # What was received before a reconnect has been handled by now: what is heard from here on is proof.
            for room in self._rooms.in_shard(shard):
                room.doubt()
            # First what is too much: restoring makes entries newer than the count, and those are spared.
            await self._tell_all(shard, bound)
        spread_seconds = _SPREAD_SECONDS if len(self._rooms) > _SPREAD_FROM_ROOMS else 0.0
        rooms = self._rooms.in_shard(shard)
        await asyncio.gather(*(self._announce_room(room, random.uniform(0, spread_seconds)) for room in rooms))  # noqa: S311

    def _newest_known(self, shard: int) -> CompareRequest:
        """The room of the shard of which the newest change was heard: presence looks whether the stream has got it."""
        newest = max(self._rooms.in_shard(shard), key=lambda room: room.state.revision, default=None)
        if newest is None:
            return _NOTHING
        return CompareRequest.model_construct(epoch=newest.epoch, rooms={newest.id: newest.state})

    @property
    def unconfirmed(self) -> list[int]:
        """Shards in which anybody has joined of late."""
        return self._entering.unconfirmed

    async def confirm(self, shard: int) -> None:
        """Tell presence all connections we have in a shard.

        A write that was not acknowledged, or whose reply was lost, can be committed after its connection has left.
        Raises PresenceRefused or TimeoutError.
        """
        async with asyncio.timeout(_ANSWER_SECONDS):
            await self._tell_all(shard, await self._presence.compare(shard, _NOTHING))
        self._entering.confirmed(shard)

    async def _tell_all(self, shard: int, bound: CompareReply) -> None:
        """`bound`: what presence had applied before we count. Raises PresenceRefused."""
        connections = {connection.stay for connection in self._connections_in(shard)}
        await self._presence.complete(
            CompleteRequest.model_construct(
                gateway=self._gateway,
                shard=shard,
                epoch=bound.epoch,
                revision=bound.revision,
                connections=connections | self._leaves.in_shard(shard),
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
            task = self._restoring[connection.id] = self._under_way.begin("restore", self._restore(connection))
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
                await self._presence.join(self._entering.request(connection, room.id, with_roster=False, again=True))
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
                    self._metrics.resync_differences.inc(
                        await self._entering.enter(connection, room, again=True, only=place.connection)
                    )
                return
            except (TimeoutError, StayEnded):
                continue
            except PresenceRefused as error:
                log.error("a member could not be put back", error=str(error))
                return
            finally:
                self._withdraw_if_gone(place, connection)
        log.error("a room's roster could not be taken anew", room=room.id)

    def _withdraw_if_gone(self, place: Place, connection: Connection) -> None:
        """It may have left while it was being put back: undo a join that may have been written."""
        if not connection.holds_or_will(place):
            lost = not connection.open and not connection.expelled
            self._leaves.tell(place, lost=lost, keep_seconds=connection.keep_seconds)

    def is_present(self, place: Place) -> None:
        """Presence has this. If nobody is there, a join was carried out after it was given up, or after its leave."""
        connection = self._connections.get(connection_of(place.connection))
        if place in self._leaves:
            return
        if connection is None:
            self._leaves.tell(place, lost=True)
        else:
            self._withdraw_if_gone(place, connection)


def _connections(room: Room) -> Iterator[Connection]:
    return (recipient for recipient in room.fanout if isinstance(recipient, Connection))
