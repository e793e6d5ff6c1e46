"""Putting right what may have gone wrong: after a doubt at once, and every so often without one.

Doubts are a reconnect to NATS, a dropped message, a lease that lapsed, a presence stream that was replaced. Then
presence is told what we have, and every hosted room gets its roster anew; clients are told the difference.
Republished changes can also be lost with no sign at all, so the rooms' revisions are compared now and then.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable

from gateway.membership import Membership
from gateway.metrics import GatewayMetrics
from gateway.presence_client import PresenceClient, PresenceRefused
from gateway.room import Room
from gateway.rooms import Rooms
from services import logs
from services.bus import BusError
from shared.ids import RoomId
from shared.presence import CompareRequest
from shared.subjects import shard_of

log = logs.get(__name__)

_COMPARE_SECONDS = 10.0
_IN_FLIGHT_SECONDS = 1.0
"""A change that presence knows and we do not may be on its way; after this long it is lost."""
_ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 0.5
_RELOAD_ATTEMPTS = 5
_ROOMS_AT_ONCE = 32
_SPREAD_SECONDS = 0.5


class Resync:
    def __init__(
        self,
        rooms: Rooms,
        membership: Membership,
        presence: PresenceClient,
        metrics: GatewayMetrics,
        *,
        renew_lease: Callable[[], Awaitable[bool]],
    ) -> None:
        self._rooms = rooms
        self._membership = membership
        self._presence = presence
        self._metrics = metrics
        self._renew_lease = renew_lease
        self._doubtful = asyncio.Event()

    def doubt(self, reason: str) -> None:
        """Resync soon. Doubts that come while one is being put right are put right after it."""
        if not self._doubtful.is_set():
            log.info("resyncing", reason=reason)
            self._doubtful.set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self._doubtful.wait()
            self._doubtful.clear()
            try:
                await self._put_right()
            except (BusError, PresenceRefused, TimeoutError) as error:
                log.warning("resync failed, trying again", error=str(error) or "no answer in time")
                await asyncio.sleep(_RETRY_SECONDS)
                self._doubtful.set()

    async def _put_right(self) -> None:
        self._metrics.resyncs.inc()
        await self._renew_lease()
        # A lease that had lapsed says so as it is renewed: that doubt is being put right already.
        self._doubtful.clear()
        await self._membership.announce()
        await self._reload_all(list(self._rooms))

    async def _reload_all(self, rooms: list[Room]) -> None:
        """One room that cannot be loaded must not have everything announced again."""
        for attempt in range(_RELOAD_ATTEMPTS):
            rooms = await self._reload(rooms)
            if not rooms:
                return
            await asyncio.sleep(_RETRY_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        log.error("rooms could not be loaded", rooms=len(rooms))

    async def _reload(self, rooms: list[Room]) -> list[Room]:
        """The rooms that could not be loaded."""
        slots = asyncio.Semaphore(_ROOMS_AT_ONCE)
        spread = _SPREAD_SECONDS if len(rooms) > _ROOMS_AT_ONCE else 0.0

        async def reload(room: Room) -> None:
            await asyncio.sleep(random.uniform(0, spread))  # noqa: S311 - jitter
            async with slots, asyncio.timeout(_ANSWER_SECONDS):
                self._metrics.resync_differences.inc(room.load(await self._presence.roster(room.id)))

        outcomes = await asyncio.gather(*(reload(room) for room in rooms), return_exceptions=True)
        failed = []
        for room, outcome in zip(rooms, outcomes, strict=True):
            if isinstance(outcome, PresenceRefused | TimeoutError):
                failed.append(room)
            elif outcome is not None:
                raise outcome
        return failed

    # --- the comparison ---

    async def compare_for_ever(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(_COMPARE_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            try:
                await self._compare()
            except (BusError, PresenceRefused, TimeoutError) as error:
                log.info("rooms not compared", error=str(error) or "no answer in time")

    async def _compare(self) -> None:
        suspects = await self._rooms_behind()
        if not suspects:
            return
        await asyncio.sleep(_IN_FLIGHT_SECONDS)
        behind = [room for room, newest in suspects if not room.knows(newest)]
        if behind:
            log.warning("changes were lost on the way", rooms=len(behind))
            self._metrics.lost_changes.inc(len(behind))
            await self._reload_all(behind)

    async def _rooms_behind(self) -> list[tuple[Room, int]]:
        """Rooms of which presence knows something newer, with its revision."""
        by_shard: dict[tuple[int, str], dict[RoomId, Room]] = defaultdict(dict)
        for room in self._rooms:
            if room.epoch:
                by_shard[shard_of(room.id), room.epoch][room.id] = room
        behind = []
        for (shard, epoch), rooms in by_shard.items():
            request = CompareRequest(epoch=epoch, rooms={room.id: room.revision for room in rooms.values()})
            async with asyncio.timeout(_ANSWER_SECONDS):
                reply = await self._presence.compare(shard, request)
            if reply.epoch != epoch:
                self.doubt("the presence stream is another one")
            behind += [(rooms[room], newest) for room, newest in reply.newer.items() if room in rooms]
        return behind
