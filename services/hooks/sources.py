"""Reads what is stored, from where the log of events ends on: chat, changes of members, and documents."""

import asyncio

from studyroom.services.hooks.events import SourceName
from studyroom.services.hooks.positions import Position, is_later
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import Batch, BatchReader, Read
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.contract import document_subjects, hook_subjects, subjects
from studyroom.shared.contract.groups import Group

log = logs.get(__name__)

_BATCH_MAX = 256
_BATCH_MAX_BYTES = 1_048_576
_LOOK_SECONDS = 5.0
"""How often the identity of a stream is checked."""
_BEGINNING = "1970-01-01T00:00:00Z"


class Source:
    """One stream, read in its order. Methods raise BusError."""

    def __init__(self, bus: Bus, name: SourceName, stream: str, wanted: str) -> None:
        """Create it. `wanted`: the subjects to read."""
        self.name = name
        self.stream = stream
        self.position = Position()
        """Up to here everything was read."""
        self._bus = bus
        self._wanted = wanted
        self._reader = BatchReader(bus, stream)
        self._looked_at = float("-inf")
        self._by_time = False
        """Whether to go on by time, because sequences of the stream mean other messages now."""

    async def open(self) -> None:
        await self._reader.open()

    async def begin(self, position: Position | None) -> None:
        """Begin after a position. None begins with what comes from now on."""
        info = await self._bus.stream_info(self.stream)
        if position is None:
            position = Position(info["created"], info["state"]["last_seq"], info["ts"])
        self.position, self._by_time = position, False
        self.look_soon()

    async def read(self) -> Batch:
        """Return the next messages, which `done` must report. Check now and then whether the stream is another one."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= _LOOK_SECONDS:
            await self._look()
            self._looked_at = now
        start: dict[str, object] = {"seq": self.position.sequence + 1}
        if self._by_time:
            start = {"start_time": self.position.time or _BEGINNING}
        batch = await self._reader.get(
            {**start, "next_by_subj": self._wanted, "batch": _BATCH_MAX, "max_bytes": _BATCH_MAX_BYTES}
        )
        if self._by_time:
            batch.messages = [read for read in batch.messages if is_later(read.time, self.position.time)]
        return batch

    def done(self, read: Read) -> None:
        """Go on after this message."""
        self._by_time = False
        self.position = Position(self.position.created, read.sequence, read.time)

    def look_soon(self) -> None:
        """Check the identity with the next `read`, because NATS was away."""
        self._looked_at = float("-inf")

    async def _look(self) -> None:
        """A stream that was made again, or that has lost its newest messages, goes on by the time of the messages."""
        info = await self._bus.stream_info(self.stream)
        at, state = self.position, info["state"]
        if info["created"] == at.created and state["last_seq"] >= at.sequence:
            return
        log.warning("a stream is another one, going on by time", stream=self.stream, after=at.time)
        self.position = Position(info["created"], 0, at.time)
        self._by_time = True


def source_of(bus: Bus, name: SourceName, group: Group) -> Source:
    """Return the stream of one of `NEEDED_FOR`. Raises ValueError for another source."""
    match name:
        case SourceName.CHAT:
            return Source(bus, name, group.chat_stream, subjects.CHAT_SUBJECTS)
        case SourceName.MEMBERS:
            return Source(bus, name, group.member_log_stream, hook_subjects.MEMBER_LOG)
        case SourceName.DOCUMENTS:
            return Source(bus, name, group.documents_stream, document_subjects.DOCUMENT_LOGS)
        case _:
            raise ValueError(f"{name} is in no stream")
