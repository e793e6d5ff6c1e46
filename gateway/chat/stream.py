"""Reads the stream of chat of a group of shards by the JetStream API.

Any replica answers a request for a batch (`BatchReader`). To make sure that nothing is missing, ask the leader for the
last message of the room and compare.
"""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from math import ceil
from typing import Any, NamedTuple

from studyroom.gateway.chat.terms import ChatTerms
from studyroom.gateway.rooms.history import Stored
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import BatchReader
from studyroom.shared.chassis.nats.bus import Bus, BusError, BusUnavailable
from studyroom.shared.chassis.nats.stored import erase
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.ids import ID_LENGTH, RoomId

log = logs.get(__name__)

_BATCH_MAX = 256
_BATCH_MAX_BYTES = 1_048_576
_WALK_MAX, _WALK_MAX_BYTES = 128, 131_072
"""One step of a walk through all rooms takes a gateway about 2 ms."""
_LASTS_MAX = 256
"""Rooms in one request. NATS accepts 1,024."""
_RETRY_SECONDS = 0.1
_OTHERS_SECONDS = 5.0
"""The time for the other streams when one has answered at the start."""
_STALE_SECONDS = 0.05
"""The pause before the next request when a replica lags."""
_ATTEMPTS_FOR_EXPIRED = 20
_GUESSES_MAX = 64
"""Halving a range of sequences, which have 64 bits, takes at most this many steps."""
_SURPLUS = 4
"""To return the newest messages, this class reads at most this many times their number."""


class Page(NamedTuple):
    messages: list[Stored]
    """Oldest first."""
    older: bool
    """The room has messages before these."""


class NotInRoom(Exception):
    """The sequence is not that of a message of this room."""


class Trimmed(Exception):
    """Messages in the range may have been removed, or the range has too many."""


class _Batch(NamedTuple):
    messages: list[tuple[str, Stored]]
    """Each with its subject."""
    pending: int
    """How many matching messages follow the batch."""


class ChatStream(ChatTerms):
    def __init__(self, bus: Bus, group: Group | None = None) -> None:
        super().__init__(bus, group)
        self._bus = bus
        self._reader = BatchReader(bus, self._name)
        self._unannounced: dict[RoomId, int] = {}

    async def start(self) -> None:
        """Returns when the stream has answered."""
        await self.open()
        await self.answers()

    async def open(self) -> None:
        """Prepare to read the stream, which may be away."""
        await self._reader.open()

    async def answers(self) -> None:
        """Returns when the stream has answered."""
        logged = ""
        while True:
            try:
                await self.learn()
            except BusError as error:
                if logged != (logged := str(error)):
                    log.warning("waiting for a stream, which the provisioner makes", stream=self._name, error=logged)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    # --- announcements ------------------------------------------------------------------------------------

    def stored(self, room: RoomId, sequence: int) -> None:
        """This gateway has stored a message for a room that it may not host. The next `announce` announces it."""
        self._unannounced[room] = sequence

    def announce(self, newest: dict[RoomId, int]) -> None:
        """Let other gateways know the newest sequences of these rooms, in case they have lost the messages."""
        unannounced, self._unannounced = self._unannounced, {}
        for room, sequence in (unannounced | newest).items():
            self._bus.publish(subjects.room_newest(room), b"%d" % sequence)

    # --- single messages ----------------------------------------------------------------------------------

    async def last(self, room: RoomId) -> int | None:
        """The sequence of the room's newest message, from the leader; None if there is none. Raises BusError."""
        found = await self._message({"last_by_subj": subjects.chat(room)})
        return found.sequence if found is not None else None

    async def first(self, room: RoomId, sequence: int) -> int | None:
        """The sequence of the room's first message from `sequence` on, from the leader; None if there is none.

        Raises BusError.
        """
        found = await self._message({"seq": sequence, "next_by_subj": subjects.chat(room)})
        return found.sequence if found is not None else None

    async def message(self, sequence: int) -> Stored | None:
        """The message at this sequence, from the leader; None if there is none. Raises BusError."""
        return await self._message({"seq": sequence})

    async def message_of(self, room: RoomId, sequence: int) -> Stored | None:
        """The message at this sequence, from the leader; None if it was stored once and is gone.

        Raises NotInRoom if the sequence belongs to another room or does not exist yet, or BusError.
        """
        found = await self._message({"seq": sequence}, only_of=room)
        if found is None and sequence > (await self.learn()).last:
            raise NotInRoom(f"there is no message {sequence} yet")
        return found

    async def _message(self, request: dict[str, Any], only_of: RoomId | None = None) -> Stored | None:
        message = await self._bus.stored(self._name, request)
        if message is None:
            return None
        sequence: int = message["seq"]
        if only_of is not None and message["subject"] != subjects.chat(only_of):
            raise NotInRoom(f"message {sequence} belongs to another room")
        return Stored.of(sequence, b64decode(message["data"]), message["time"])

    async def erase(self, sequence: int) -> None:
        """Overwrite and remove a message. Succeeds also if the message is gone already. Raises BusError."""
        await erase(self._bus, self._name, sequence)

    # --- many messages ------------------------------------------------------------------------------------

    async def lasts(self, rooms: Iterable[RoomId], *, after: int = 0) -> dict[RoomId, int]:
        """The sequence of the newest message of each room that has one after a sequence, from any replica.

        Raises BusError.
        """
        by_subject = {subjects.chat(room): room for room in rooms}
        all_subjects = list(by_subject)
        found = {}
        for start in range(0, len(all_subjects), _LASTS_MAX):
            some = all_subjects[start : start + _LASTS_MAX]
            batch = await self._get({"multi_last": some, "batch": len(some), **({"seq": after + 1} if after else {})})
            found.update({by_subject[subject]: stored.sequence for subject, stored in batch.messages})
        return found

    async def after(self, room: RoomId, position: int, *, up_to: int, at_most: int) -> list[Stored]:
        """All messages of the room after a position, at least up to the sequence `up_to`, which has been stored.

        Retries until it has them, so bound it with a timeout. Raises Trimmed, or BusError.
        """
        found: list[Stored] = []
        complete = False
        attempts_left = _ATTEMPTS_FOR_EXPIRED
        while True:
            batch = await self._batch(room, max(1, found[-1].sequence + 1 if found else position), _BATCH_MAX)
            lines = [stored for _, stored in batch.messages]
            # The stream removes the oldest messages first. So when an older message is there, no newer one is missing,
            # except erased ones, which no client should receive.
            complete = complete or bool(lines and lines[0].sequence <= position)
            found += [stored for stored in lines if stored.sequence > position]
            if len(found) + batch.pending > at_most:
                raise Trimmed
            if not batch.pending and (up_to <= position or (found and found[-1].sequence >= up_to)):
                break
            if not batch.pending:
                last = await self.last(room)
                if last is None or last < up_to:
                    # The message has expired meanwhile, or the leader is new and does not have it yet.
                    attempts_left -= 1
                    if not attempts_left:
                        break
                await asyncio.sleep(_STALE_SECONDS)
        erased = sum(stored.deletes > 0 for stored in found)
        if not complete and not await self._untrimmed(room, position, erased):
            raise Trimmed
        return found

    async def between(self, room: RoomId, after: int, up_to: int) -> list[Stored]:
        """All messages of the room after a sequence, up to another one, which the stream has reached.

        Bound it with a timeout. Raises BusError.
        """
        found: list[Stored] = []
        position, attempts_left = after, _ATTEMPTS_FOR_EXPIRED
        while position < up_to and attempts_left:
            batch = await self._batch(room, position + 1, _BATCH_MAX)
            found += [stored for _, stored in batch.messages if stored.sequence <= up_to]
            position = max(position, _last_of(batch))
            if position < up_to and not batch.pending:  # the replica lags, or the last message is gone
                attempts_left -= 1
                await asyncio.sleep(_STALE_SECONDS)
        return found

    async def has_until(self, room: RoomId, moment: datetime) -> bool:
        """Whether the room has entries that were stored up to a moment, besides tombstones, according to any replica.

        Raises BusError.
        """
        start, pending = 1, 1
        while pending:
            batch = await self._batch(room, start, _WALK_MAX)
            for _, stored in batch.messages:
                if datetime.fromisoformat(stored.time) > moment:
                    return False
                if not stored.deletes:
                    return True
            start, pending = _last_of(batch) + 1, batch.pending
        return False

    async def walk(self, after: int, up_to: int, pause_seconds: float) -> AsyncIterator[tuple[RoomId, Stored]]:
        """Read the entries of all rooms after a sequence, up to another one, which the stream has reached.

        Pauses after each batch, so that it takes a small part of the event loop. Raises BusError.
        """
        position, attempts_left = after, _ATTEMPTS_FOR_EXPIRED
        while position < up_to:
            request = {"seq": position + 1, "next_by_subj": ">", "batch": _WALK_MAX, "max_bytes": _WALK_MAX_BYTES}
            batch = await self._get(request)
            for subject, stored in batch.messages:
                if stored.sequence <= up_to:
                    yield RoomId(subject[-ID_LENGTH:]), stored
            position = max(position, _last_of(batch))
            if not batch.pending and position < up_to:
                # The last messages are gone, or the replica lags.
                found = await self._message({"seq": position + 1, "next_by_subj": ">"})
                if found is None or found.sequence > up_to:
                    return
                if not attempts_left:
                    raise BusUnavailable(f"a replica of {self._name} lags")
                attempts_left -= 1
                await asyncio.sleep(_STALE_SECONDS)
            await asyncio.sleep(pause_seconds)

    async def _untrimmed(self, room: RoomId, position: int, erased: int) -> bool:
        """Whether no message of the room after the position was removed, except the `erased` ones.

        Each erased message counts, because it was one of the messages that the limit per room allows.
        """
        batch = await self._batch(room, 1, 1)
        if batch.messages and batch.messages[0][1].sequence <= position:
            return True
        count = len(batch.messages) + batch.pending
        terms = await self.learn()
        limit = terms.max_messages_per_room
        return terms.first <= position + 1 and (limit <= 0 or count + erased < limit)

    async def newest(self, room: RoomId, count: int, *, before: int | None = None) -> Page:
        """The newest messages of the room, or the newest of those before a sequence.

        Retries until it has them, so bound it with a timeout. Raises BusError.
        """
        while True:
            last = await self.last(room)
            if last is None:
                return Page([], older=False)
            if before is not None and before > last:
                before = None
            page = await self._newest(room, count, before, last)
            newest = page.messages[-1].sequence if page.messages else 0
            if newest >= last or before is not None:
                return page
            await asyncio.sleep(_STALE_SECONDS)

    async def _newest(self, room: RoomId, count: int, before: int | None, last: int) -> Page:
        """`before`: None, or at most the `last` sequence of the room.

        NATS reads forward only, so this searches for the first of them. NATS returns how many messages follow a
        sequence.
        """
        first = await self._batch(room, 1, count)
        lines = [stored for _, stored in first.messages]
        if not first.pending or (before is not None and lines[-1].sequence >= before):
            return Page([stored for stored in lines if before is None or stored.sequence < before], older=False)
        oldest = lines[0].sequence
        end = before or last + 1
        newer = await self._count_from(room, end) if before is not None else 0
        total = len(lines) + first.pending - newer
        start = oldest if total <= count else await self._start_of(room, oldest, end, total, count, newer)
        found: list[Stored] = []
        while True:
            batch = await self._batch(room, start, _BATCH_MAX)
            found += [stored for _, stored in batch.messages if before is None or stored.sequence < before]
            found = found[-count:]
            if not batch.pending or (before is not None and batch.messages[-1][1].sequence >= before):
                break
            start = batch.messages[-1][1].sequence + 1
        return Page(found, older=bool(found) and found[0].sequence > oldest)

    async def _start_of(self, room: RoomId, low: int, end: int, total: int, count: int, newer: int) -> int:
        """A sequence to read from, for the `count` newest messages before `end` and not many more.

        `total`: how many messages the room has from `low` to `end`, more than `count`. `newer`: how many from `end` on.
        """
        high, at_low = end, total
        for _ in range(_GUESSES_MAX):
            if at_low <= _SURPLUS * count or high - low <= 1:
                break
            # The guess assumes evenly spread messages, and adds a margin. If it is no use, halve the range.
            guess = max(low + 1, end - ceil((end - low) * (1.5 * count) / at_low))
            if guess >= high:
                guess = (low + high) // 2
            at_guess = await self._count_from(room, guess) - newer
            if at_guess >= count:
                low, at_low = guess, at_guess
            else:
                high = guess
        return low

    async def _count_from(self, room: RoomId, start: int) -> int:
        """How many messages the room has from a sequence on."""
        batch = await self._batch(room, start, 1)
        return len(batch.messages) + batch.pending

    async def _batch(self, room: RoomId, start: int, count: int) -> _Batch:
        request = {"seq": start, "next_by_subj": subjects.chat(room), "batch": count}
        return await self._get({**request, "max_bytes": _BATCH_MAX_BYTES})

    async def _get(self, request: dict[str, Any]) -> _Batch:
        """Raises BusUnavailable."""
        batch = await self._reader.get(request)
        lines = [(read.subject, Stored.of(read.sequence, read.data, read.time)) for read in batch.messages]
        return _Batch(lines, batch.pending)


async def start_all(streams: Iterable[ChatStream], tasks: Tasks) -> None:
    """Returns when a stream has answered, and the others have too or had some seconds to do so.

    Rooms of a stream without a leader wait for it. Rooms of others do not.
    """
    answers = []
    for stream in streams:
        await stream.open()
        answers.append(tasks.spawn("chat stream", stream.answers()))
    await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(answers, timeout=_OTHERS_SECONDS)


def _last_of(batch: _Batch) -> int:
    return batch.messages[-1][1].sequence if batch.messages else 0
