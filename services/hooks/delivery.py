"""Delivers the log of a group of shards: the events of each room in order, one request of a room at a time.

A room whose event fails waits with all its later events, and no other room waits for it. Its position is saved apart
from that of the others, so that a restart sends nothing of the others again.
"""

import asyncio
import json
import random
from base64 import b64decode
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time as unix_time
from typing import Any

from studyroom.services.hooks.bucket import Bucket
from studyroom.services.hooks.event_log import EventLog
from studyroom.services.hooks.events import Logged, SourceName, body_of
from studyroom.services.hooks.metrics import HooksMetrics
from studyroom.services.hooks.positions import Position, age_seconds
from studyroom.services.hooks.retries import pause_seconds
from studyroom.services.hooks.sending import Outcome, Result, Sender
from studyroom.services.hooks.settings import HooksSettings
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Conflict
from studyroom.shared.contract.chat import with_sequence
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.incarnation import is_same_time

log = logs.get(__name__)

_AHEAD = 8
"""Events of a room that are kept in memory. More are read from the log when their turn comes."""
_ROOMS_MAX = 10_000
"""With so many rooms that wait, no more of the log is read."""
_LOOK_SECONDS = 1.0
"""How often the log is read without a sign of new events, and positions are saved."""
_LATE_SECONDS = 5.0
"""A room that waits for so long does not hold back the position of the others."""
_LAGGING_SECONDS = 0.05
_BUS_SECONDS = 1.0
"""The pause after a request to NATS has failed."""


class Contents:
    """Reads what the backend gets: the chat to which events only point, and whether the log still has the others."""

    def __init__(self, bus: Bus, group: Group, events: EventLog) -> None:
        self._bus = bus
        self._stream = group.chat_stream
        self._log = events

    async def body(self, logged: Logged) -> bytes | None:
        """Return the body of the request for an event; None if the event has left the log. Raises BusError."""
        if logged.user is not None and not await self._log.has(logged.sequence):
            return None
        return body_of(logged, await self._message(logged))

    async def _message(self, logged: Logged) -> dict[str, Any] | None:
        if logged.event.source is not SourceName.CHAT:
            return None
        found = await self._bus.stored(self._stream, {"seq": logged.event.position})
        if found is None or not is_same_time(found["time"], logged.event.time):
            return None
        try:
            payload: dict[str, Any] = json.loads(with_sequence(b64decode(found["data"]), found["seq"]))["payload"]
        except (ValueError, KeyError) as error:
            log.error("cannot decode a chat message", room=logged.room, sequence=found["seq"], error=str(error))
            return None
        return payload


@dataclass(slots=True, eq=False)
class _Room:
    id: RoomId
    position: int
    """The sequence of the last event that was delivered, or one before the first that was not."""
    newest: int
    """The sequence of the newest event that is known."""
    since: float
    """When the room began to wait, in the loop's time."""
    ahead: deque[Logged] = field(default_factory=deque)
    """The next events."""
    has_more: bool = False
    """Whether there are events after these, which have to be read."""
    failures: int = 0
    """How often the next event has failed in a row."""


class Delivery:
    """Delivers one log. Methods raise BusError, and Conflict if another replica delivers the log."""

    def __init__(
        self, events: EventLog, bucket: Bucket, contents: Contents, sender: Sender,
        settings: HooksSettings, metrics: HooksMetrics, may_send: Callable[[], bool],
    ) -> None:  # fmt: skip
        """Create it. `may_send`: asked before each request, whether this replica still has the lease."""
        self._log = events
        self._bucket = bucket
        self._contents = contents
        self._sender = sender
        self._retry_max_seconds = settings.retry_max_seconds
        self._metrics = metrics
        self._may_send = may_send
        self._slots = asyncio.Semaphore(settings.concurrent_requests)
        self._rooms: dict[RoomId, _Room] = {}
        """The rooms with events that are not delivered."""
        self._tasks: asyncio.TaskGroup | None = None
        self._read = Position()
        """The position up to which the log was read."""
        self._late: dict[RoomId, int] = {}
        """The saved positions of rooms that are behind the saved position of the others."""
        self._saved: Position | None = None
        self._saving = asyncio.Lock()
        self._paused_until = 0.0
        """No request before this moment of the loop's time, because the backend has too many."""
        self._sending: set[object] = set()
        """The requests that are under way."""
        self._stopping = False
        self._room_done = asyncio.Event()

    # --- the log ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await self._begin()
            self._tasks.create_task(self._save_regularly(), name="save positions")
            while True:
                try:
                    await self._read_on()
                except BusError as error:
                    log.info("cannot read the log of hooks, trying again", error=str(error))
                    await asyncio.sleep(_BUS_SECONDS)

    async def _read_on(self) -> None:
        self._log.grown.clear()
        page = await self._log.read(self._read.sequence)
        if page.events and 0 < self._read.sequence < page.events[0].sequence - 1:
            await self._count_lost()
        if page.last:
            self._take(page.events, page.last)
        while len(self._rooms) >= _ROOMS_MAX:
            self._room_done.clear()
            await self._room_done.wait()
        if not page.last:
            await self._wait_for_more()

    async def _begin(self) -> None:
        created, end = await self._log.identify()
        saved, self._late = await self._bucket.delivered(), await self._bucket.late_rooms()
        if saved is None or saved.created != created or saved.sequence > end:
            if saved is not None:
                log.warning("the log of hooks is another one", stream=self._log.stream)
            await self._bucket.save_late_rooms(dict.fromkeys(self._late))
            self._late, saved = {}, Position(created, 0)
        self._read = saved
        for room, position in self._late.items():
            late = self._room(room, position)
            late.newest, late.has_more = max(position, saved.sequence), True
            self._start(late)

    def _take(self, events: list[Logged], last: int) -> None:
        """Queue events that were read from the log, up to the sequence `last`."""
        for logged in events:
            room = self._rooms.get(logged.room)
            waits = room is not None
            room = room or self._room(logged.room, logged.sequence - 1)
            room.newest = logged.sequence
            if room.has_more or len(room.ahead) >= _AHEAD:
                room.has_more = True
            else:
                room.ahead.append(logged)
            if not waits:
                self._start(room)
        self._read = Position(self._read.created, last)

    async def _count_lost(self) -> None:
        """Count the events after the position that the log does not have any more. Raises BusError."""
        lost = await self._log.first() - 1 - self._read.sequence
        if lost > 0:  # otherwise somebody has removed the events of a room
            self._metrics.expired.inc(lost)
            log.error("events left the log before they were delivered", count=lost)

    def _room(self, room: RoomId, position: int) -> _Room:
        waiting = self._rooms[room] = _Room(room, position, position, asyncio.get_running_loop().time())
        return waiting

    def _start(self, room: _Room) -> None:
        assert self._tasks is not None  # noqa: S101 - `run` has made it
        self._tasks.create_task(self._deliver_room(room), name="deliver")

    async def _wait_for_more(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._log.grown.wait()
        except TimeoutError:
            pass

    # --- one room -----------------------------------------------------------------------------------------

    async def _deliver_room(self, room: _Room) -> None:
        while room.position < room.newest:
            if room.ahead:
                logged = room.ahead[0]
                if await self._try(room, logged):
                    room.ahead.popleft()
                    room.position = logged.sequence
            else:
                await self._fill(room)
        del self._rooms[room.id]
        self._room_done.set()

    async def _fill(self, room: _Room) -> None:
        """Read the next events of a room, at which the log has come to its newest one already."""
        newest = room.newest
        try:
            page = await self._log.read_room(room.id, room.position, _AHEAD)
            if not page.last and await self._log.has_after(room.id, room.position):
                await asyncio.sleep(_LAGGING_SECONDS)
                return
        except BusError as error:
            log.info("cannot read the events of a room, trying again", room=room.id, error=str(error))
            await asyncio.sleep(_BUS_SECONDS)
            return
        # Later ones come with the log, so they would be delivered twice.
        events = [logged for logged in page.events if logged.sequence <= newest]
        if events:
            room.ahead.extend(events)
            room.has_more = events[-1].sequence < room.newest
        elif page.last:
            room.position = min(page.last, newest)
        else:
            await self._count_lost_of(room)
            room.position = newest

    async def _count_lost_of(self, room: _Room) -> None:
        """Count the last events of a room, which the log does not have any more."""
        try:
            were_erased = await self._log.first() <= room.newest
        except BusError as error:
            log.info("cannot read why a room has no more events", room=room.id, error=str(error))
            were_erased = False
        if not were_erased:
            self._metrics.expired.inc()
            log.error("events of a room left the log before they were delivered", room=room.id)

    async def _try(self, room: _Room, logged: Logged) -> bool:
        """Try to deliver an event. After a failure, wait for the time until the next attempt, and return False.

        An event that was erased counts as delivered.
        """
        await self._pause()
        try:
            async with self._slots:
                body = await self._contents.body(logged)
                result = await self._send(logged, body) if body is not None else Result(Outcome.DELIVERED)
        except BusError as error:
            log.info("cannot read what an event is about, trying again", room=room.id, error=str(error))
            await asyncio.sleep(_BUS_SECONDS)
            return False
        if result is None:
            await asyncio.sleep(_LOOK_SECONDS)
            return False
        if result.is_delivered:
            room.failures = 0
            return True
        room.failures += 1
        await self._wait_to_retry(room, logged, result)
        return False

    async def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        while (left := self._paused_until - loop.time()) > 0:
            await asyncio.sleep(left * random.uniform(1.0, 1.1))  # noqa: S311 - jitter

    async def _send(self, logged: Logged, body: bytes) -> Result | None:
        """Send an event once. Return None if this replica may not."""
        if self._stopping or not self._may_send():
            return None
        self._sending.add(request := object())
        try:
            with self._metrics.attempt_duration.time():
                result = await self._sender.send(logged.event.id, body)
        finally:
            self._sending.discard(request)
        self._metrics.attempts.labels(outcome=result.outcome.value).inc()
        if result.is_delivered:
            self._metrics.delay.observe(max(0.0, age_seconds(logged.event.time, unix_time())))
        return result

    async def _wait_to_retry(self, room: _Room, logged: Logged, result: Result) -> None:
        uniform = random.uniform
        asked = 0.0 if result.outcome is Outcome.THROTTLED else result.retry_after_seconds
        seconds = pause_seconds(room.failures, self._retry_max_seconds, asked, uniform)
        log.warning(
            "the backend did not take an event", room=room.id, id=logged.event.id, type=logged.event.type.value,
            outcome=result.outcome.value, reason=result.reason, attempt=room.failures, wait_seconds=round(seconds, 1),
        )  # fmt: skip
        if result.outcome is Outcome.THROTTLED:
            until = asyncio.get_running_loop().time() + result.retry_after_seconds
            self._paused_until = max(self._paused_until, until)
        await asyncio.sleep(seconds)

    # --- positions ----------------------------------------------------------------------------------------

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.save()
            except Conflict:
                raise  # another replica delivers
            except BusError as error:
                log.info("cannot save what is delivered, trying again", error=str(error))

    async def save(self) -> None:
        """Save the position up to which everything is delivered, and those of rooms that are late."""
        async with self._saving:
            await self._save()

    async def _save(self) -> None:
        oldest = asyncio.get_running_loop().time() - _LATE_SECONDS
        late = {room.id: room.position for room in self._rooms.values() if room.since < oldest or room.id in self._late}
        others = [room.position for room in self._rooms.values() if room.id not in late]
        position = Position(self._read.created, min([self._read.sequence, *others]))
        await self._bucket.save_late_rooms({room: at for room, at in late.items() if self._late.get(room) != at})
        if position != self._saved:
            await self._bucket.save_delivered(position)
            self._saved = position
        await self._bucket.save_late_rooms(dict.fromkeys(room for room in self._late if room not in late))
        self._late = late

    async def settle(self) -> None:
        """Return when the requests that are under way have ended. Those that begin later have what is stored then."""
        under_way = set(self._sending)
        while under_way & self._sending:
            await asyncio.sleep(_LAGGING_SECONDS)

    async def drain(self) -> None:
        """Begin no more requests, wait for those that are under way, and save the positions."""
        self._stopping = True
        while self._sending:
            await asyncio.sleep(_LAGGING_SECONDS)
        await self.save()

    # --- metrics ------------------------------------------------------------------------------------------

    @property
    def waiting_rooms(self) -> int:
        return len(self._rooms)

    @property
    def oldest_seconds(self) -> float:
        """The age of the oldest event that is not delivered, 0 if there is none."""
        firsts = (room.ahead[0].event.time for room in self._rooms.values() if room.ahead)
        now = unix_time()
        return max((age_seconds(time, now) for time in firsts), default=0.0)
