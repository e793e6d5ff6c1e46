"""Putting right what may have gone wrong: after a doubt at once, and every so often without one.

Doubts about everything are a reconnect to NATS, a lease that lapsed, a presence stream that was replaced: then
presence is told what we have, shard by shard, and what both have is compared. A dropped message is a doubt about
its room. Republished changes can also be lost with no sign at all, and right after a reconnect they will be, until the
stream's leader knows of our subscriptions again. So what the rooms know is compared soon after a doubt, and now and
then.

Each shard is put right and compared for itself: one that nobody serves holds up no other.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.gateway.membership.reannouncement import Reannouncement
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.presence import CompareRequest
from studyroom.shared.contract.subjects import SHARDS

log = logs.get(__name__)

_COMPARE_SECONDS = 10.0
_IN_FLIGHT_SECONDS = 1.0
"""A change that presence knows and we do not may be on its way; after this long it is lost."""
_COMPARED_AFTER_SECONDS = (0.5, 2.0, 5.0)
"""After a doubt: our subscriptions may not be known everywhere before."""
_IN_FLIGHT_THEN_SECONDS = 0.3
_ANSWER_SECONDS = 5.0
_RETRY_SECONDS, _RETRY_MAX_SECONDS = 0.5, 5.0
_FAILURES = (BusError, PresenceRefused, TimeoutError)


class Resync:
    def __init__(
        self,
        rooms: Rooms,
        reannouncement: Reannouncement,
        presence: PresenceClient,
        metrics: GatewayMetrics,
        tasks: Tasks,
        *,
        renew_lease: Callable[[], Awaitable[bool]],
    ) -> None:
        self._rooms = rooms
        self._reannouncement = reannouncement
        self._presence = presence
        self._metrics = metrics
        self._tasks = tasks
        self._renew_lease = renew_lease
        self._shards: set[int] = set()
        """In doubt, and not begun to be put right."""
        self._again: dict[int, asyncio.Event] = {}
        """Of each shard that is being put right: set when it is in doubt again."""
        self._comparing: set[int] = set()
        self._suspects: set[RoomId] = set()
        self._invalidated = asyncio.Event()

    def invalidate(self, reason: str) -> None:
        """Resync everything soon. Doubts that come while one is being put right are put right after it."""
        if len(self._shards) < SHARDS:
            log.info("resyncing", reason=reason)
        self._shards.update(range(SHARDS))
        self._invalidated.set()

    def suspect(self, room: RoomId) -> None:
        """Take this room's roster anew soon."""
        self._suspects.add(room)
        self._invalidated.set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self._invalidated.wait()
            self._invalidated.clear()
            if self._shards:
                self._metrics.resyncs.inc()
                await self._renew_lease()
                # A lease that had lapsed says so as it is renewed: that doubt is being put right already.
                shards, self._shards = self._shards, set()
                for shard in shards:
                    self._begin(shard)
            suspects, self._suspects = self._suspects, set()
            for room in map(self._rooms.get, suspects):
                if room is not None:
                    self._reannouncement.refresh(room)

    # --- after a doubt ---

    def _begin(self, shard: int) -> None:
        again = self._again.get(shard)
        if again is not None:
            again.set()
            return
        self._again[shard] = asyncio.Event()
        self._tasks.spawn("resync", self._repair(shard, self._again[shard]))

    async def _repair(self, shard: int, again: asyncio.Event) -> None:
        """Returns when the shard has been put right, and found right for a while."""
        pause = _RETRY_SECONDS
        try:
            while True:
                again.clear()
                try:
                    await self._reannouncement.announce(shard)
                    await self._watch(shard, again)
                except _FAILURES as error:
                    log.warning("a shard was not resynced, trying again", shard=shard, error=str(error) or "no answer")
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                    pause = min(2 * pause, _RETRY_MAX_SECONDS)
                    continue
                if not again.is_set():
                    return
                pause = _RETRY_SECONDS
        finally:
            del self._again[shard]

    async def _watch(self, shard: int, again: asyncio.Event) -> None:
        """Compare what was put right a few times, or until it is in doubt again. Raises as `_compare`."""
        waited = 0.0
        for after_seconds in _COMPARED_AFTER_SECONDS:
            try:
                async with asyncio.timeout(after_seconds - waited):
                    await again.wait()
                return
            except TimeoutError:
                waited = after_seconds
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._compare(shard, self._rooms.in_shard(shard), _IN_FLIGHT_THEN_SECONDS)
            await self._reannouncement.announce_all(shard)

    # --- the comparison ---

    async def compare_for_ever(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(_COMPARE_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            by_shard = self._rooms.by_shard()
            for shard in by_shard.keys() | set(self._reannouncement.unconfirmed):
                if shard not in self._comparing:
                    self._comparing.add(shard)
                    self._tasks.spawn("comparison", self._try_compare(shard, by_shard.get(shard, [])))

    async def _try_compare(self, shard: int, rooms: list[Room]) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._compare(shard, rooms, _IN_FLIGHT_SECONDS)
            if shard in self._reannouncement.unconfirmed:
                await self._reannouncement.confirm(shard)
        except _FAILURES as error:
            log.info("rooms not compared", shard=shard, error=str(error) or "no answer in time")
        finally:
            self._comparing.discard(shard)

    async def _compare(self, shard: int, rooms: list[Room], in_flight_seconds: float) -> None:
        """Raises PresenceRefused or TimeoutError."""
        for epoch in {room.epoch for room in rooms if room.epoch}:
            asked = {room.id: room for room in rooms if room.epoch == epoch}
            states = {room: hosted.state for room, hosted in asked.items()}
            reply = await self._presence.compare(shard, CompareRequest(epoch=epoch, rooms=states))
            if reply.epoch != epoch:
                self.invalidate("the presence stream is another one")
                return
            self._lost([room for room in reply.wrong if self._rooms.get(room) is asked[room]])
            if reply.newer:
                await asyncio.sleep(in_flight_seconds)
                behind = [room for room, newest in reply.newer.items() if not asked[room].knows(newest)]
                self._lost([room for room in behind if self._rooms.get(room) is asked[room]])
        for room in rooms:
            if len(room) and room.is_stale:
                # It could not be refreshed before.
                self.suspect(room.id)

    def _lost(self, rooms: list[RoomId]) -> None:
        if rooms:
            log.warning("changes were lost on the way", rooms=len(rooms))
            self._metrics.lost_changes.inc(len(rooms))
        for room in rooms:
            self.suspect(room)
