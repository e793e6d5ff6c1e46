"""The log of events of a group of shards: one writer appends, and deliveries and replays read."""

import asyncio
from dataclasses import dataclass

from pydantic import ValidationError

from studyroom.services.hooks.events import Event, Logged
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import BatchReader, Read
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus
from studyroom.shared.chassis.nats.stored import erase
from studyroom.shared.contract import hook_subjects
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.headers import EXPECTED_LAST, MESSAGE_ID
from studyroom.shared.contract.ids import RoomId

log = logs.get(__name__)

_BATCH_MAX = 256
_BATCH_MAX_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Page:
    events: list[Logged]
    last: int
    """The sequence up to which the page has all events; 0 if there are none after the one that was asked for."""


class EventLog:
    """All methods raise BusError."""

    def __init__(self, bus: Bus, group: Group) -> None:
        self.stream = group.hooks_stream
        self._bus = bus
        self._reader = BatchReader(bus, self.stream)
        self._last = 0
        """The sequence of the last event of the stream, as this writer knows it."""
        self.grown = asyncio.Event()
        """Set when this writer has appended an event."""

    async def open(self) -> None:
        await self._reader.open()

    async def identify(self) -> tuple[str, int]:
        """Ask the leader for the creation time of the stream (RFC 3339) and the sequence of its last event."""
        info = await self._bus.stream_info(self.stream)
        return info["created"], info["state"]["last_seq"]

    async def first(self) -> int:
        """Return the sequence of the first event that the log still has, according to the leader."""
        first: int = (await self._bus.stream_info(self.stream))["state"]["first_seq"]
        return first

    async def prepare_to_append(self) -> None:
        _, self._last = await self.identify()

    async def append(self, room: RoomId, event: Event) -> bool:
        """Append an event. Return False if the log has it already. Call `prepare_to_append` before the first one.

        Raises Conflict if another writer has appended one meanwhile. After any other error the event is in the log or
        not, so prepare and append it again.
        """
        headers = {MESSAGE_ID: event.id, EXPECTED_LAST: str(self._last)}
        stored = await self._bus.store(
            hook_subjects.hook_event(room), event.encode(), headers, timeout_seconds=API_TIMEOUT_SECONDS
        )
        if stored.duplicate:
            return False
        self._last = stored.sequence
        self.grown.set()
        return True

    async def read(self, after: int) -> Page:
        """Return the next events after a sequence."""
        return await self._page({"seq": after + 1, "next_by_subj": hook_subjects.HOOK_EVENTS}, _BATCH_MAX)

    async def read_room(self, room: RoomId, after: int, most: int) -> Page:
        """Return the next events of a room after a sequence."""
        return await self._page({"seq": after + 1, "next_by_subj": hook_subjects.hook_event(room)}, most)

    async def has(self, sequence: int) -> bool:
        """Return whether the log still has the event at a sequence, according to the leader."""
        return await self._bus.stored(self.stream, {"seq": sequence}) is not None

    async def erase(self, sequence: int) -> None:
        """Overwrite and remove an event. Succeeds also if it is gone already."""
        await erase(self._bus, self.stream, sequence)

    async def has_after(self, room: RoomId | None, after: int) -> bool:
        """Return whether the room, or any, has events after a sequence, according to the leader."""
        subject = hook_subjects.hook_event(room) if room is not None else hook_subjects.HOOK_EVENTS
        request = {"seq": after + 1, "next_by_subj": subject}
        return await self._bus.stored(self.stream, request) is not None

    async def first_since(self, time: str) -> int:
        """Return the sequence of the first event that was stored at a time (RFC 3339) or later; 0 if there is none."""
        batch = await self._reader.get({"start_time": time, "next_by_subj": hook_subjects.HOOK_EVENTS, "batch": 1})
        return batch.last

    async def _page(self, request: dict[str, object], most: int) -> Page:
        batch = await self._reader.get({**request, "batch": most, "max_bytes": _BATCH_MAX_BYTES})
        return Page([logged for read in batch.messages if (logged := _decoded(read)) is not None], batch.last)


def _decoded(read: Read) -> Logged | None:
    try:
        return Logged(read.sequence, read.time, hook_subjects.parse_hook_event(read.subject), Event.decode(read.data))
    except (ValidationError, ValueError) as error:
        log.error("cannot decode an event of a hook, leaving it out", sequence=read.sequence, error=str(error))
        return None
