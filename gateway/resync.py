"""Putting right what may have gone wrong: after a doubt at once, and every so often without one.

Doubts about everything are a reconnect to NATS, a lease that lapsed, a presence stream that was replaced: then
presence is told what we have, shard by shard, and every room takes its roster anew. A dropped message is a doubt about
its room. Republished changes can also be lost with no sign at all, so what the rooms know is compared now and then.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable

from gateway.metrics import GatewayMetrics
from gateway.presence_client import PresenceClient, PresenceRefused
from gateway.reannouncement import Reannouncement
from gateway.room import Room
from gateway.rooms import Rooms
from services import logs
from services.bus import BusError
from services.tasks import Tasks
from shared.ids import RoomId
from shared.presence import CompareRequest
from shared.subjects import SHARDS, shard_of

log = logs.get(__name__)

_COMPARE_SECONDS = 10.0
_IN_FLIGHT_SECONDS = 1.0
"""A change that presence knows and we do not may be on its way; after this long it is lost."""
_ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 0.5


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
        self._suspects: set[RoomId] = set()
        self._doubtful = asyncio.Event()

    def doubt(self, reason: str) -> None:
        """Resync everything soon. Doubts that come while one is being put right are put right after it."""
        if len(self._shards) < SHARDS:
            log.info("resyncing", reason=reason)
        self._shards.update(range(SHARDS))
        self._doubtful.set()

    def suspect(self, room: RoomId) -> None:
        """Take this room's roster anew soon."""
        self._suspects.add(room)
        self._doubtful.set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self._doubtful.wait()
            self._doubtful.clear()
            suspects, self._suspects = self._suspects, set()
            # A shard that is announced has all its rooms refreshed.
            suspects = {room for room in suspects if shard_of(room) not in self._shards}
            if self._shards:
                await self._put_right()
            await self._refresh(room for room in map(self._rooms.get, suspects) if room is not None)

    async def _put_right(self) -> None:
        self._metrics.resyncs.inc()
        await self._renew_lease()
        # A lease that had lapsed says so as it is renewed: that doubt is being put right already.
        shards, self._shards = self._shards, set()
        failed: Collection[int] = shards
        try:
            failed = await self._in_each(shards, self._reannouncement.announce)
        finally:
            if failed:
                self._tasks.spawn("resync again", self._later(failed))

    async def _later(self, shards: Collection[int]) -> None:
        """Shards that nobody serves are tried again; what is doubted meanwhile does not wait for them."""
        log.warning("shards not resynced, trying again", shards=sorted(shards))
        await asyncio.sleep(_RETRY_SECONDS)
        self._shards.update(shards)
        self._doubtful.set()

    async def _in_each(self, shards: Collection[int], work: Callable[[int], Awaitable[None]]) -> list[int]:
        """The shards in which it failed: one that nobody serves must not hold up the others."""
        outcomes = await asyncio.gather(*(work(shard) for shard in shards), return_exceptions=True)
        failed = []
        for shard, outcome in zip(shards, outcomes, strict=True):
            if isinstance(outcome, BusError | PresenceRefused | TimeoutError):
                failed.append(shard)
            elif outcome is not None:
                raise outcome
        return failed

    async def _refresh(self, rooms: Iterable[Room]) -> None:
        await asyncio.gather(*(self._reannouncement.refresh(room) for room in rooms))

    # --- the comparison ---

    async def compare_for_ever(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(_COMPARE_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            await asyncio.gather(*(self._try_compare(shard, rooms) for shard, rooms in self._by_shard().items()))
            failed = await self._in_each(self._reannouncement.unconfirmed, self._reannouncement.confirm)
            if failed:
                log.info("connections not confirmed", shards=failed)

    async def _try_compare(self, shard: int, rooms: list[Room]) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._compare(shard, rooms)
        except (BusError, PresenceRefused, TimeoutError) as error:
            log.info("rooms not compared", shard=shard, error=str(error) or "no answer in time")

    def _by_shard(self) -> dict[int, list[Room]]:
        by_shard: dict[int, list[Room]] = defaultdict(list)
        for room in self._rooms:
            by_shard[shard_of(room.id)].append(room)
        return by_shard

    async def _compare(self, shard: int, rooms: list[Room]) -> None:
        """Raises PresenceRefused or TimeoutError."""
        for epoch in {room.epoch for room in rooms if room.epoch}:
            asked = {room.id: room for room in rooms if room.epoch == epoch}
            states = {room: hosted.state for room, hosted in asked.items()}
            reply = await self._presence.compare(shard, CompareRequest(epoch=epoch, rooms=states))
            if reply.epoch != epoch:
                self.doubt("the presence stream is another one")
                return
            self._lost([room for room in reply.wrong if self._rooms.get(room) is asked[room]])
            if reply.newer:
                await asyncio.sleep(_IN_FLIGHT_SECONDS)
                behind = [room for room, newest in reply.newer.items() if not asked[room].knows(newest)]
                self._lost([room for room in behind if self._rooms.get(room) is asked[room]])
        for room in rooms:
            if len(room) and not room.consistent:
                # It could not be refreshed before.
                self.suspect(room.id)

    def _lost(self, rooms: list[RoomId]) -> None:
        if rooms:
            log.warning("changes were lost on the way", rooms=len(rooms))
            self._metrics.lost_changes.inc(len(rooms))
        for room in rooms:
            self.suspect(room)
