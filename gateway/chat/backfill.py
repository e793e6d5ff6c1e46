"""Fetching chat that was missed: when a message shows that one before it is missing, after a doubt, and to make sure.

Republished messages can be lost with no sign at all, and a new subscription is unknown to the stream's leader for a
while. So besides the check of every message, a room is compared with the stream shortly after it was hosted or put
right, and all are every ten seconds or so.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from studyroom.gateway.chat.removals import Removals
from studyroom.gateway.chat.stream import ChatStream, Trimmed
from studyroom.gateway.chat.terms import Known
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError, BusUnavailable
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.subjects import shard_of

log = logs.get(__name__)

_TICK_SECONDS = 0.25
_CHECKED_AFTER_SECONDS = (0.5, 2.0)
_COMPARE_SECONDS = 10.0
_IN_FLIGHT_SECONDS = 0.3
"""What the stream has and we have not heard may be on its way; after this long it is fetched."""
_ANSWER_SECONDS = 5.0
_RETRY_SECONDS, _RETRY_MAX_SECONDS = 0.1, 2.0
_AT_ONCE = 16
_SPREAD_SECONDS = 0.5
_SPREAD_FROM_ROOMS = 32


@dataclass(slots=True)
class _Acknowledged:
    """A message that was stored and is not heard yet."""

    sequence: int
    since: float
    unknown: Callable[[], None]


class Backfill:
    def __init__(
        self, rooms: Rooms, stream: ChatStream, tasks: Tasks, metrics: GatewayMetrics, *, at_most: int
    ) -> None:
        """`at_most`: who has missed more of a room is told to begin anew."""
        self._rooms = rooms
        self._stream = stream
        self._tasks = tasks
        self._metrics = metrics
        self._at_most = at_most
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._running: dict[Room, asyncio.Task[None]] = {}
        self._again: set[Room] = set()
        """Those in doubt again while they are being put right."""
        self._checks: list[tuple[float, Room]] = []
        """When rooms are to be compared with the stream (monotonic seconds)."""
        self._acknowledged: dict[Room, list[_Acknowledged]] = defaultdict(list)
        self._replaced: set[Room] = set()
        """Rooms that had members when the stream was replaced: all that is in the new one is new to them."""
        self._invalidated = asyncio.Event()
        self._suspected = False
        """The stream may have lost messages."""
        self._removals = Removals(rooms, stream, self._removed)

    # --- one room -----------------------------------------------------------------------------------------

    async def ready(self, room: Room) -> None:
        """Returns when the room has a position in the stream that is there now. Wait with a timeout."""
        while not self._stream.sure or room.history.position is None:
            await self._stream.known()
            await asyncio.shield(self.catch_up(room))

    def catch_up(self, room: Room, *, wait_seconds: float = 0.0) -> asyncio.Task[None]:
        """Fetch what the room has missed, if anything; whoever asks meanwhile shares it. The task ends when it has."""
        task = self._running.get(room)
        if task is None:
            task = self._running[room] = self._tasks.spawn("backfill", self._catch_up(room, wait_seconds))
        else:
            self._again.add(room)
        return task

    def gap(self, room: Room) -> None:
        """A message was heard that comes behind one that was not."""
        if room not in self._running:
            self.catch_up(room)

    async def _catch_up(self, room: Room, wait_seconds: float) -> None:
        pause = _RETRY_SECONDS
        try:
            await asyncio.sleep(wait_seconds)
            while self._is_hosted(room):
                self._again.discard(room)
                await self._stream.known()
                try:
                    async with self._slots, asyncio.timeout(_ANSWER_SECONDS):
                        await self._fetch(room)
                except (BusError, TimeoutError) as error:
                    log.info("chat not fetched, trying again", error=str(error) or "no answer in time")
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                    pause = min(2 * pause, _RETRY_MAX_SECONDS)
                    continue
                if not room.history.incomplete and room not in self._again:
                    break
        finally:
            del self._running[room]
            self._again.discard(room)
        self._check_later(room)

    def _is_still(self, epoch: str) -> bool:
        """What was read since this was the epoch is of the same stream.

        It may not be while NATS has been away: then the stream has this epoch only until the gateway looks at it.
        """
        return self._stream.sure and self._stream.terms.epoch == epoch

    def _is_hosted(self, room: Room) -> bool:
        return self._rooms.get(room.id) is room

    async def _fetch(self, room: Room) -> None:
        """Raises BusError."""
        position = room.history.position
        if position is None:
            await self._begin(room)
            return
        stream = self._stream.terms.epoch
        target = max(await self._stream.last(room.id) or 0, room.history.awaited)
        if not self._is_still(stream):
            return  # what was found is of either stream; the room is to be put right again anyway
        if target <= position:
            room.take_missed([], position)
            return
        try:
            missed = await self._stream.behind(room.id, position, up_to=target, at_most=self._at_most)
        except Trimmed:
            log.warning("chat was lost to members: it was removed, or is too much", room=room.id)
            self._metrics.chat_losses.inc()
            room.forget_chat()
            await self._begin(room)
            return
        if self._is_still(stream):
            taken = room.take_missed(missed, target)
            if taken:
                self._metrics.backfill_messages.observe(taken)

    async def _begin(self, room: Room) -> None:
        """Raises BusError."""
        stream = self._stream.terms.epoch
        if room in self._replaced and await self._begin_from_the_start(room):
            return
        newest, empty_up_to = await self._newest(room), 0
        if not newest:
            # A position in an empty room is one of the whole stream, as of before it was found empty.
            empty_up_to = (await self._stream.learn()).last
            newest = await self._newest(room)
        if self._is_still(stream):
            room.begin_chat(newest[0].sequence - 1 if newest else empty_up_to, newest)

    async def _begin_from_the_start(self, room: Room) -> bool:
        """False when that is too much, or nothing. Raises BusError."""
        stream = self._stream.terms.epoch
        try:
            last = await self._stream.last(room.id)
            everything = await self._stream.behind(room.id, 0, up_to=last or 0, at_most=self._at_most)
        except Trimmed:
            everything = []
        if not self._is_still(stream):
            return True
        self._replaced.discard(room)
        if everything:
            room.begin_chat(0, everything)
        return bool(everything)

    async def _newest(self, room: Room) -> list[Stored]:
        """Raises BusError."""
        return (await self._stream.newest(room.id, room.history.kept)).messages

    async def reach(self, room: Room, sequence: int) -> bool:
        """Bring the room to a position that somebody else has seen. False when the stream has not been there.

        Raises BusError.
        """
        await asyncio.shield(self.catch_up(room))
        if room.history.passed(sequence):
            return True
        # Nothing of the room may lie between: a position in an empty room is one of the whole stream.
        empty_up_to = (await self._stream.learn()).last
        stream = self._stream.terms.epoch
        last = await self._stream.last(room.id)
        position = room.history.position
        if not self._is_still(stream):
            raise BusUnavailable("the stream of chat may be another one")
        if position is not None and (last or 0) <= position and sequence <= empty_up_to:
            room.take_missed([], empty_up_to)
        return room.history.passed(sequence)

    # --- doubts and checks --------------------------------------------------------------------------------

    def invalidate(self) -> None:
        """Messages may have been missed in any room, or the stream may be another one."""
        self._invalidated.set()

    def disconnected(self) -> None:
        """NATS is away: it may come back with another stream, or with less in it."""
        self._send_known()
        self._stream.invalidate()

    def suspect(self) -> None:
        """The stream may be another one, or have lost messages: it is looked at soon."""
        self._suspected = True

    def _send_known(self) -> None:
        for room in self._rooms:
            newest = room.history.newest_stored
            reached = room.history.position or 0
            self._stream.know(Known(reached, newest.sequence, newest.time) if newest else Known(reached))

    def replaced(self) -> None:
        """The stream is another one."""
        log.warning("the stream of chat is another one")
        self._replaced = {room for room in self._rooms if len(room)}
        for room in self._rooms:
            room.forget_chat()
            self.catch_up(room)
        lost, self._acknowledged = self._acknowledged, defaultdict(list)
        for messages in lost.values():
            for message in messages:
                message.unknown()

    def acknowledged(self, room_id: RoomId, sequence: int, unknown: Callable[[], None]) -> None:
        """A message was stored: it should be heard soon. `unknown` is called when members are not told of it."""
        room = self._rooms.get(room_id)
        if room is None:
            return
        if not room.history.passed(sequence):
            self._acknowledged[room].append(_Acknowledged(sequence, time.monotonic(), unknown))
        elif sequence <= room.history.begun:
            unknown()

    async def run(self) -> None:
        """Never returns."""
        compare_at = time.monotonic() + _jittered(_COMPARE_SECONDS)
        while True:
            try:
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._invalidated.wait()
            except TimeoutError:
                pass
            compare = time.monotonic() >= compare_at
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._tick(compare=compare)
            except (BusError, TimeoutError) as error:
                log.info("chat not compared", error=str(error) or "no answer in time")
                await asyncio.sleep(_RETRY_SECONDS)
            if compare:
                compare_at = time.monotonic() + _jittered(_COMPARE_SECONDS)

    async def _tick(self, *, compare: bool) -> None:
        """Raises BusError."""
        if self._invalidated.is_set():
            await self._stream.learn()
            self._invalidated.clear()
            spread_seconds = _SPREAD_SECONDS if len(self._rooms) > _SPREAD_FROM_ROOMS else 0.0
            for room in list(self._rooms):
                self.catch_up(room, wait_seconds=random.uniform(0, spread_seconds))  # noqa: S311 - jitter
        now = time.monotonic()
        self._check_acknowledged(now)
        due = {room for at, room in self._checks if at <= now and self._is_hosted(room)}
        self._checks = [(at, room) for at, room in self._checks if at > now]
        if compare or self._suspected:
            self._suspected = False
            self._send_known()
            await self._stream.learn()
        if compare:
            due = set(self._rooms)
            self._replaced &= due
        if due:
            shorter = await self._compare(due)
            if compare:
                await self._removals.look(shorter, but=self._running.keys())

    def _check_acknowledged(self, now: float) -> None:
        for room, stored in list(self._acknowledged.items()):
            waiting = []
            for message in stored:
                if not room.history.passed(message.sequence):
                    waiting.append(message)
                elif message.sequence <= room.history.begun:
                    message.unknown()
            if not waiting or not self._is_hosted(room):
                del self._acknowledged[room]
                continue
            self._acknowledged[room] = waiting
            if any(now - message.since > _IN_FLIGHT_SECONDS for message in waiting):
                for message in waiting:
                    message.since = now
                self._lost(room)

    def _check_later(self, room: Room) -> None:
        now = time.monotonic()
        self._checks += [(now + after, room) for after in _CHECKED_AFTER_SECONDS]

    async def _compare(self, rooms: Iterable[Room]) -> set[Room]:
        """Rooms whose newest message, as members have seen it, some replica does not have. Raises BusError."""
        by_shard: dict[int, list[Room]] = defaultdict(list)
        for room in rooms:
            by_shard[shard_of(room.id)].append(room)
        behind: list[tuple[Room, int]] = []
        shorter = set[Room]()
        for hosted in by_shard.values():
            lasts = await self._stream.lasts(room.id for room in hosted)
            stored = [(room, lasts.get(room.id, 0)) for room in hosted]
            behind += [(room, last) for room, last in stored if not room.history.passed(last)]
            shorter |= {room for room, last in stored if room.history.newest_sequence > last}
        if behind:
            await asyncio.sleep(_IN_FLIGHT_SECONDS)
        for room, last in behind:
            if not room.history.passed(last) and room not in self._running and self._is_hosted(room):
                self._lost(room)
        return shorter

    def _removed(self, room: Room) -> None:
        log.warning("stored chat was removed", room=room.id)
        self._metrics.chat_losses.inc()
        room.forget_chat()
        self.catch_up(room)

    def _lost(self, room: Room) -> None:
        """A message was lost with no sign, or its room is still being put right."""
        if room not in self._running:
            self._metrics.chat_behind.inc()
            self.catch_up(room)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
