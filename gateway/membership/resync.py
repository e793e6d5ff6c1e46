"""Resyncs this gateway with presence, shard by shard.

An event that concerns every room invalidates all shards: a reconnect to NATS, a lapsed lease, another presence stream.
A dropped message invalidates its room only. The bus can also lose committed changes silently, for example after a
reconnect, until the stream's leader knows this gateway's subscriptions again. So each shard is compared soon after its
repair, and all are compared regularly. A shard that no replica serves delays no other.
"""

import asyncio

from studyroom.gateway.membership.join_barrier import JoinBarrier
from studyroom.gateway.membership.lease import Lease
from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.gateway.membership.reannouncement import Reannouncement
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.chassis.repairs import Repairs
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.presence import CompareRequest

log = logs.get(__name__)

_COMPARE_SECONDS = 10.0
_SPACING_SECONDS = 0.02
"""Between the shards of a comparison. All at once would hold up the event loop."""
_IN_FLIGHT_SECONDS = 1.0
"""A change that presence has and this gateway lacks may be in flight. After this long it counts as lost."""
_CHECK_AFTER_SECONDS = (0.5, 2.0, 5.0)
"""Until then some servers may not know this gateway's subscriptions."""
_IN_FLIGHT_THEN_SECONDS = 0.3
_ANSWER_SECONDS = 5.0
_FAILURES = (BusError, PresenceRefused, TimeoutError)
_ALL = Group().shards


class Resync:
    def __init__(
        self,
        rooms: Rooms,
        reannouncement: Reannouncement,
        join_barrier: JoinBarrier,
        presence: PresenceClient,
        metrics: GatewayMetrics,
        tasks: Tasks,
        lease: Lease,
        groups: int,
    ) -> None:
        """`groups`: how many groups of shards there are, each with its own presence stream."""
        self._rooms = rooms
        self._reannouncement = reannouncement
        self._join_barrier = join_barrier
        self._presence = presence
        self._metrics = metrics
        self._tasks = tasks
        self._lease = lease
        self._groups = groups
        self._begun = Repairs[range](tasks.spawn, "resync", self._begin)
        """The keys are the shards of a group, or all shards."""
        self._shards = Repairs[int](
            tasks.spawn,
            "resync",
            reannouncement.announce,
            failures=_FAILURES,
            pause_seconds=(0.5, 5.0),
            check_after_seconds=_CHECK_AFTER_SECONDS,
        )
        self._comparing: set[int] = set()

    def invalidate(self, reason: str, shards: range = _ALL) -> None:
        """Resync these shards soon."""
        if shards in self._begun:
            return  # the shards are not invalidated yet: a lapsed lease, for example, reports itself when it is renewed
        log.info("resyncing", reason=reason)
        self._begun.invalidate(shards)

    def suspect(self, room_id: RoomId) -> None:
        """The roster of this room may be wrong: load it again."""
        room = self._rooms.get(room_id)
        if room is not None:
            self._reannouncement.refresh(room)

    async def run(self) -> None:
        """Compare all shards regularly. Never returns."""
        await self._shards.run(self._compare_all, every_seconds=_COMPARE_SECONDS, check=self._check_all)

    async def _begin(self, shards: range) -> None:
        self._metrics.resyncs.inc()
        await self._lease.renew()
        for shard in shards:
            self._shards.invalidate(shard)

    # Each shard is compared in its own task, so that a shard without answers delays no other.

    async def _check_all(self, shards: set[int]) -> None:
        for shard in shards:
            self._tasks.spawn("resync", self._check(shard))

    async def _check(self, shard: int) -> None:
        """After a repair. The repair is not done until this has succeeded."""
        try:
            await self._compare(shard, _IN_FLIGHT_THEN_SECONDS)
            await self._reannouncement.announce_all(shard)
        except _FAILURES as error:
            log.info("check of a resync failed, trying again", shard=shard, error=str(error) or "no answer in time")
            self._shards.invalidate(shard)

    async def _compare_all(self) -> None:
        due = (self._rooms.by_shard().keys() | self._join_barrier.unconfirmed) - self._comparing
        for number, shard in enumerate(due):
            self._comparing.add(shard)
            self._tasks.spawn("comparison", self._compare_and_confirm(shard, number * _SPACING_SECONDS))

    async def _compare_and_confirm(self, shard: int, after_seconds: float) -> None:
        """Also reports the members of a shard where anyone joined recently, and restores those that presence lacks.

        A write without an acknowledgement, or whose reply was lost, can be committed after its connection has left.
        """
        try:
            await asyncio.sleep(after_seconds)
            await self._compare(shard, _IN_FLIGHT_SECONDS)
            if shard in self._join_barrier.unconfirmed:
                await self._reannouncement.announce_all(shard)
                self._join_barrier.confirmed(shard)
        except _FAILURES as error:
            log.info("failed to compare the rooms of a shard", shard=shard, error=str(error) or "no answer in time")
        finally:
            self._comparing.discard(shard)

    async def _compare(self, shard: int, in_flight_seconds: float) -> None:
        """Raises PresenceRefused or TimeoutError."""
        rooms = self._rooms.in_shard(shard)
        async with asyncio.timeout(_ANSWER_SECONDS):
            for epoch in {room.epoch for room in rooms if room.epoch}:
                by_id = {room.id: room for room in rooms if room.epoch == epoch}
                states = {room: hosted.state for room, hosted in by_id.items()}
                reply = await self._presence.compare(shard, CompareRequest(epoch=epoch, rooms=states))
                if reply.epoch != epoch:
                    shards = Group(shard % self._groups, self._groups).shards
                    self.invalidate("the presence stream is another one", shards)
                    return
                self._lost([room for room in reply.wrong if self._rooms.get(room) is by_id[room]])
                if reply.newer:
                    await asyncio.sleep(in_flight_seconds)
                    behind = [room for room, newest in reply.newer.items() if not by_id[room].knows(newest)]
                    self._lost([room for room in behind if self._rooms.get(room) is by_id[room]])
        for room in rooms:
            if len(room) and room.is_stale:
                self.suspect(room.id)  # an earlier refresh failed

    def _lost(self, rooms: list[RoomId]) -> None:
        if rooms:
            log.warning("the bus lost changes of rooms", rooms=len(rooms))
            self._metrics.lost_changes.inc(len(rooms))
        for room in rooms:
            self.suspect(room)
