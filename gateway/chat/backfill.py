"""Reads chat that hosted rooms missed from the stream.

Each message names the one before it, so a gap shows. But the bus can also lose a room's newest message, and a new
subscription is unknown to the stream's leader for a while. So a room is compared with the stream soon after its repair,
all rooms are compared regularly, and gateways announce the newest messages of rooms to each other.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from studyroom.gateway.chat.comparison_schedule import ComparisonSchedule
from studyroom.gateway.chat.removals import Removals
from studyroom.gateway.chat.stream import ChatStream, Trimmed
from studyroom.gateway.chat.terms import Known
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.history import OTHERS_KEPT_MAX, Stored
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import HostedRooms
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError, BusUnavailable
from studyroom.shared.chassis.repairs import Repairs
from studyroom.shared.chassis.sharing import result_of
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.subjects import shard_of

log = logs.get(__name__)

_CHECK_AFTER_SECONDS = (0.5, 2.0)
_COMPARE_SECONDS = 10.0
_IN_FLIGHT_SECONDS = 0.3
"""A stored message that has not arrived here may be in flight. After this long, read it from the stream."""
_ANSWER_SECONDS = 5.0
_LEARN_PAUSE_SECONDS = 0.1
"""The pause does not grow, because joins wait until the terms of the stream are known again."""
_CONCURRENCY = 16
_RESET_SECONDS = 0.5
"""Many reactions may be erased at once, and members get the chat once."""
_MORE = 256
"""How many more lines to read at a time, if most of the newest are edits, reactions and tombstones."""
_FAILURES = (BusError, TimeoutError)


@dataclass(slots=True)
class _Acknowledged:
    """A message that was stored and has not arrived here."""

    sequence: int
    since: float
    unknown: Callable[[], None] = lambda: None
    """Called when members will not get it."""


class Backfill:
    def __init__(
        self, rooms: HostedRooms, stream: ChatStream, tasks: Tasks, metrics: GatewayMetrics, *, at_most: int
    ) -> None:
        """`rooms`: those of the stream. `at_most`: a room that has missed more messages starts its chat again."""
        self._rooms = rooms
        self._stream = stream
        self._metrics = metrics
        self._at_most = at_most
        self._tasks = tasks
        self._resetting: set[Room] = set()
        self._slots = asyncio.Semaphore(_CONCURRENCY)
        self._repairs = Repairs[Room](
            tasks.spawn,
            "backfill",
            self._repair,
            label=lambda room: room.id,
            failures=_FAILURES,
            check_after_seconds=_CHECK_AFTER_SECONDS,
        )
        self._everything = Repairs[None](
            tasks.spawn,
            "backfill",
            self._begin_all,
            failures=_FAILURES,
            pause_seconds=(_LEARN_PAUSE_SECONDS, _LEARN_PAUSE_SECONDS),
        )
        self._acknowledged: dict[Room, list[_Acknowledged]] = defaultdict(list)
        self._replaced: set[Room] = set()
        """Rooms that had members when the stream was replaced. All messages of the new stream are new to them."""
        self._suspected = False
        """The stream may have lost messages."""
        self._schedule = ComparisonSchedule[Room]()
        self._removals = Removals(rooms, stream, self._removed)

    # --- one room -----------------------------------------------------------------------------------------

    async def ready(self, room: Room) -> None:
        """Returns when the room has a position in the present stream. Wait with a timeout."""
        while not self._stream.sure or room.history.position is None:
            await self._stream.known()
            await result_of(self.catch_up(room))

    def catch_up(self, room: Room) -> asyncio.Task[None]:
        """Read the messages that the room missed. The task ends when it has them. Wait by `result_of`: others do."""
        return self._repairs.invalidate(room)

    def gap(self, room: Room) -> None:
        """A message arrived, and one before it has not."""
        if room not in self._repairs:
            self.catch_up(room)

    def reset(self, room: Room) -> None:
        """Something was erased that clients cannot take back. Members get the chat of the room again, soon."""
        if room not in self._resetting:
            self._resetting.add(room)
            self._tasks.spawn("chat reset", self._reset(room))

    async def _reset(self, room: Room) -> None:
        await asyncio.sleep(_RESET_SECONDS)
        self._resetting.discard(room)
        if self._is_hosted(room):
            room.forget_chat()
            self.catch_up(room)

    async def _repair(self, room: Room) -> None:
        """Raises BusError or TimeoutError."""
        if not self._is_hosted(room):
            return
        await self._stream.known()
        async with self._slots, asyncio.timeout(_ANSWER_SECONDS):
            await self._fetch(room)
        if room.history.incomplete:
            self.catch_up(room)

    def _is_still(self, epoch: str) -> bool:
        """Whether messages that were read since this was the epoch are from the present stream.

        While NATS is away that is uncertain, because the epoch changes only when the gateway learns the terms again.
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
            return  # the target may be from either stream, and the room will be repaired again
        if target <= position:
            room.take_missed([], position)
            return
        try:
            missed = await self._stream.after(room.id, position, up_to=target, at_most=self._at_most)
        except Trimmed:
            log.warning("members missed chat that was removed or is too much", room=room.id)
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
            # The position of an empty room is the end of the whole stream, from before the room was found empty.
            empty_up_to = (await self._stream.learn()).last
            newest = await self._newest(room)
        if self._is_still(stream):
            room.begin_chat(newest[0].sequence - 1 if newest else empty_up_to, newest)

    async def _begin_from_the_start(self, room: Room) -> bool:
        """False when there are too many messages, or none. Raises BusError."""
        stream = self._stream.terms.epoch
        try:
            last = await self._stream.last(room.id)
            everything = await self._stream.after(room.id, 0, up_to=last or 0, at_most=self._at_most)
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
        kept = room.history.kept
        page = await self._stream.newest(room.id, kept)
        found = page.messages
        while page.older and len(found) < OTHERS_KEPT_MAX and sum(stored.is_message for stored in found) < kept:
            page = await self._stream.newest(room.id, _MORE, before=found[0].sequence)
            found = page.messages + found
        return found

    async def reach(self, room: Room, sequence: int) -> bool:
        """Bring the room to a position that a client has seen. False when the stream has never been there.

        Raises BusError.
        """
        await result_of(self.catch_up(room))
        if room.history.passed(sequence):
            return True
        # The position may be after the room's last message, because that of an empty room is the end of the stream.
        empty_up_to = (await self._stream.learn()).last
        stream = self._stream.terms.epoch
        last = await self._stream.last(room.id)
        position = room.history.position
        if not self._is_still(stream):
            raise BusUnavailable("the stream of chat may be another one")
        if position is not None and (last or 0) <= position and sequence <= empty_up_to:
            room.take_missed([], empty_up_to)
        return room.history.passed(sequence)

    # --- all rooms ----------------------------------------------------------------------------------------

    def invalidate(self) -> None:
        """Any room may have missed messages, and the stream may be another one."""
        if None not in self._everything:  # otherwise the rooms are not invalidated yet
            self._everything.invalidate(None)

    async def _begin_all(self, _: None) -> None:
        """Raises BusError or TimeoutError."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            await self._stream.learn()
        self._repairs.invalidate_all(list(self._rooms))

    def disconnected(self) -> None:
        """NATS is away. It may come back with another stream, or with fewer messages in it."""
        self._send_known()
        self._stream.invalidate()

    def suspect(self) -> None:
        """The stream may be another one, or have lost messages. Learn its terms soon."""
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
        self._schedule.replaced()
        for room in self._rooms:
            room.forget_chat()
            self.catch_up(room)
        lost, self._acknowledged = self._acknowledged, defaultdict(list)
        for messages in lost.values():
            for message in messages:
                message.unknown()

    def acknowledged(self, room_id: RoomId, sequence: int, unknown: Callable[[], None]) -> None:
        """A message was stored and should arrive soon. `unknown` is called when members will not get it."""
        room = self._rooms.get(room_id)
        if room is None:
            self._stream.stored(room_id, sequence)
            return
        if not room.history.passed(sequence):
            self._acknowledged[room].append(_Acknowledged(sequence, time.monotonic(), unknown))
        elif sequence <= room.history.begun:
            unknown()

    def announced(self, room: Room, sequence: int) -> None:
        """Another gateway has this message, which should arrive here soon."""
        self._acknowledged[room].append(_Acknowledged(sequence, time.monotonic()))

    async def run(self) -> None:
        """Compare rooms with the stream regularly. Never returns."""
        await self._repairs.run(self._compare_all, every_seconds=_COMPARE_SECONDS, check=self._check)

    async def _check(self, repaired: set[Room]) -> None:
        """Compare recently repaired rooms, with few requests. Raises BusError or TimeoutError."""
        self._check_acknowledged(time.monotonic())
        async with asyncio.timeout(_ANSWER_SECONDS):
            if self._suspected:
                self._suspected = False
                self._send_known()
                await self._stream.learn()
            await self._compare(room for room in repaired if self._is_hosted(room))

    async def _compare_all(self) -> None:
        """Raises BusError or TimeoutError."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            self._send_known()
            terms = await self._stream.learn()
            self._replaced &= set(self._rooms)
            due = self._schedule.next_round(self._rooms, terms.last)
            self._stream.announce({room.id: room.history.newest_sequence for room in due.announce})
            await self._compare(due.look, after=due.since)
            shorter = await self._compare(due.compare)
            await self._removals.look(shorter, but=self._repairs)

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

    async def _compare(self, rooms: Iterable[Room], *, after: int = 0) -> set[Room]:
        """Returns rooms whose newest message, as members got it, some replica does not have. Raises BusError.

        `after`: compare only messages after this sequence of the stream. Then the result means nothing.
        """
        by_shard: dict[int, list[Room]] = defaultdict(list)
        for room in rooms:
            by_shard[shard_of(room.id)].append(room)
        behind: list[tuple[Room, int]] = []
        shorter = set[Room]()
        for hosted in by_shard.values():
            lasts = await self._stream.lasts((room.id for room in hosted), after=after)
            stored = [(room, lasts.get(room.id, 0)) for room in hosted]
            behind += [(room, last) for room, last in stored if not room.history.passed(last)]
            shorter |= {room for room, last in stored if room.history.newest_sequence > last}
        if behind:
            await asyncio.sleep(_IN_FLIGHT_SECONDS)
        for room, last in behind:
            if not room.history.passed(last) and self._is_hosted(room):
                self._lost(room)
        return shorter

    def _removed(self, room: Room) -> None:
        log.warning("stored chat was removed", room=room.id)
        self._schedule.suspicious = True
        self._metrics.chat_losses.inc()
        room.forget_chat()
        self.catch_up(room)

    def _lost(self, room: Room) -> None:
        """The bus lost the room's newest message, unless a repair of the room is still in progress."""
        if room not in self._repairs:
            self._metrics.chat_behind.inc()
            self._schedule.suspicious = True
            self.catch_up(room)
