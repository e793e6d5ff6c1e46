"""Makes events of what is stored, and appends them to the log, in the order in which it was stored.

The id of an event follows from the change that it was made of. A collector that takes over begins a little before the
end of the last one. It makes the same events again, and the log leaves out those that it has.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from studyroom.services.hooks.bucket import Bucket
from studyroom.services.hooks.event_log import EventLog
from studyroom.services.hooks.events import Event, EventType, SourceName, event_id
from studyroom.services.hooks.members import Change, Member, Members
from studyroom.services.hooks.merging import merged
from studyroom.services.hooks.metrics import HooksMetrics
from studyroom.services.hooks.positions import Position
from studyroom.services.hooks.saved_documents import SavedDocuments
from studyroom.services.hooks.settings import HooksSettings
from studyroom.services.hooks.sources import Source
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import Read
from studyroom.shared.chassis.nats.bus import Bus, BusError
from studyroom.shared.chassis.nats.stored import erase
from studyroom.shared.contract import document_subjects, hook_subjects
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.presence import Entry

log = logs.get(__name__)

_POLL_SECONDS = 0.2
_SAVE_SECONDS = 1.0
_COPIED_SECONDS = 0.05
"""The time for NATS to copy a change of a member into the log of members."""
_COMPARE_SECONDS = 600.0
"""How often the members are compared with their bucket, besides after each beginning and reconnect."""
_SETTLE_SECONDS = 3.0
"""A difference that lasts for so long is not a change that is on its way."""
_CHAT = {
    b'{"type":"Chat",': EventType.MESSAGE_CREATED,
    b'{"type":"ChatEdited",': EventType.MESSAGE_EDITED,
    b'{"type":"ChatDeleted",': EventType.MESSAGE_DELETED,
}

PresentMembers = Callable[[], Awaitable[dict[Member, str]]]
"""Returns the names of all members according to the bucket of members. Raises BusError."""


class Collector:
    """The only writer of the log of a group, as long as its replica has the lease. Methods raise BusError."""

    def __init__(
        self, bus: Bus, sources: Sequence[Source], events: EventLog, bucket: Bucket, present: PresentMembers,
        settings: HooksSettings, metrics: HooksMetrics,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._log = events
        self._bucket = bucket
        self._present = present
        self._wanted = settings.wanted
        self._metrics = metrics
        self._sources = {source.name: source for source in sources}
        self._members = Members()
        self._documents = SavedDocuments(settings.document_seconds)
        self._saved: dict[SourceName, Position] = {}
        self._compare_at = 0.0
        """When the members are compared with their bucket, in the loop's time."""
        self._is_late = False
        """Whether the sources have more than was read in the last round."""
        self._suspected: dict[Member, str | None] = {}
        """The differences that the last comparison has found."""
        self._turn = asyncio.Lock()
        """Held while the log is written."""
        self._failure: BusError | None = None
        """After a failure nobody knows what is in the log, so another collector must go on from what is saved."""

    async def open(self) -> None:
        """Go on where the last collector has saved. The first one ever begins with what comes from now on."""
        known = await self._bucket.collected() or {}
        await self._log.prepare_to_append()
        for name, source in self._sources.items():
            await source.begin(known.get(name))
        if SourceName.MEMBERS in self._sources:
            members = await self._bucket.members()
            if SourceName.MEMBERS not in known:
                gone, members = members, await self._present()
                self._members.unsaved = {**dict.fromkeys(gone), **members}
            self._members.load(members)
        await self.save()

    async def run(self) -> None:
        """Collect until cancelled. Call `open` first."""
        loop = asyncio.get_running_loop()
        saved_at = loop.time()
        while True:
            async with self._writing():
                found = await self.collect()
                if not self._is_late:
                    await self._compare(loop.time())
                if loop.time() - saved_at >= _SAVE_SECONDS:
                    await self.save()
                    saved_at = loop.time()
            if not found:
                await asyncio.sleep(_POLL_SECONDS)

    def look_soon(self) -> None:
        """NATS was away, and may have come back with other streams."""
        self._compare_at = 0.0
        for source in self._sources.values():
            source.look_soon()

    async def save(self) -> None:
        """Save members and positions, so that the next collector goes on from here."""
        positions = {name: source.position for name, source in self._sources.items()}
        waiting = self._documents.all_made_up_to
        if waiting is not None and waiting.created == positions[SourceName.DOCUMENTS].created:
            positions[SourceName.DOCUMENTS] = waiting
        if positions != self._saved or self._members.unsaved:
            await self._bucket.save_members(self._members.unsaved)
            await self._bucket.save_collected(positions)
            self._members.unsaved, self._saved = {}, positions

    # --- events -------------------------------------------------------------------------------------------

    async def collect(self) -> bool:
        """Read some of each source and append its events. Return whether there was anything."""
        # A member who writes has joined before. So the log of members is read last, when NATS has copied the join.
        members = [source for source in self._sources.values() if source.name is SourceName.MEMBERS]
        others = [source for source in self._sources.values() if source.name is not SourceName.MEMBERS]
        sources = [*others, *members]
        batches = list(await asyncio.gather(*(source.read() for source in others)))
        if members and any(batch.messages for batch in batches):
            await asyncio.sleep(_COPIED_SECONDS)
        batches += [await source.read() for source in members]
        self._is_late = any(batch.pending for batch in batches)
        found = merged([(batch.messages, bool(batch.pending)) for batch in batches])
        for number, read in found:
            await self._handle(read, sources[number])
        await self._make_documents()
        return bool(found)

    async def _handle(self, read: Read, source: Source) -> None:
        match source.name:
            case SourceName.CHAT:
                await self._of_chat(read)
            case SourceName.MEMBERS:
                await self._of_member(read, source)
            case SourceName.DOCUMENTS:
                now = asyncio.get_running_loop().time()
                document = document_subjects.parse_document(read.subject)
                self._documents.edit(document, read.sequence, read.time, before=source.position, now=now)
        source.done(read)

    async def _of_chat(self, read: Read) -> None:
        kind = next((event for start, event in _CHAT.items() if read.data.startswith(start)), None)
        if kind is not None:
            room, data = RoomId(read.subject.rsplit(".", 1)[1]), {"seq": read.sequence}
            await self._append(room, kind, SourceName.CHAT, read.sequence, read.time, data, read.sequence)

    async def _of_member(self, read: Read, source: Source) -> None:
        room, user = hook_subjects.parse_member_log(read.subject)
        if not read.data:
            changes = self._members.remove(room, user)
            if not changes:
                await self._erase_removal(read, source)
        else:
            try:
                entry = Entry.decode(read.data)
            except ValidationError as error:
                log.error("cannot decode a change of a member", room=room, user=user, error=str(error))
                return
            changes = self._members.put(room, user, entry.profile.username)
        await self._append_changes(changes, read.sequence, read.time, read.sequence)

    async def _erase_removal(self, read: Read, source: Source) -> None:
        """Erase a removal that changes nothing. NATS may copy one again after the user was erased from the log."""
        try:
            await erase(self._bus, source.stream, read.sequence)
        except BusError as error:
            log.info("cannot erase a removal from the log of members", error=str(error))

    async def _append_changes(self, changes: list[Change], position: int, time: str, identity: object) -> None:
        for change in changes:
            await self._append(
                change.room, change.type, SourceName.MEMBERS, position, time, dict(change.data), identity
            )

    async def _make_documents(self) -> None:
        while (due := self._documents.next_due(asyncio.get_running_loop().time())) is not None:
            (room, name), edited = due
            identity = f"{name}:{edited.last}"
            await self._append(
                room, EventType.DOCUMENT_SAVED, SourceName.DOCUMENTS, edited.last, edited.time, {"name": name}, identity
            )
            self._documents.made((room, name))

    async def _append(
        self, room: RoomId, kind: EventType, source: SourceName, position: int, time: str, data: dict[str, Any],
        identity: object,
    ) -> None:  # fmt: skip
        """Append an event if the backend wants it. `identity`: distinguishes it from others of its type and stream."""
        if kind not in self._wanted:
            return
        name = event_id(room, kind, self._sources[source].position.created, identity)
        event = Event(id=name, type=kind, time=time, source=source, position=position, data=data)
        await self._append_event(room, event)

    async def _append_event(self, room: RoomId, event: Event) -> None:
        if await self._log.append(room, event):
            self._metrics.events.labels(type=event.type.value).inc()

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        async with self._turn:
            if self._failure is not None:
                raise self._failure
            try:
                yield
            except BusError as error:
                self._failure = error
                raise

    # --- erasures -----------------------------------------------------------------------------------------

    async def forget(self, is_erased: Callable[[RoomId, UserId], bool]) -> tuple[list[Member], int | None]:
        """Forget those members who are erased, and return those who are members still, who are not forgotten.

        When this returns, there will be no event about the others but for what happens from now on. Also returns the
        sequence in the log of members up to which it is not needed any more; None if no event is made of it.
        """
        async with self._writing():
            while await self.collect() and self._is_late:
                pass
            present = await self._present()
            known = {*self._members.all(), *await self._bucket.members()}
            for room, user in known - present.keys():
                if is_erased(room, user):
                    changes, now = self._members.forget(room, user), _now()
                    await self._append_changes(changes, 0, now, f"erased:{now}")
            await self.save()
            source = self._sources.get(SourceName.MEMBERS)
            position = source.position.sequence if source is not None else None
        return [member for member in present if is_erased(*member)], position

    async def report(self, kind: EventType, topic: RoomId, data: dict[str, Any], identity: str) -> None:
        """Append an event about an erasure. `topic`: a room, or the fingerprint of a user.

        After the erasure of a room its members are reported again, because events about them are gone.
        """
        async with self._writing():
            await self._report(kind, topic, data, identity)
            if kind is EventType.ROOM_ERASED:
                for change in self._members.present(topic):
                    await self._report(change.type, topic, dict(change.data), f"{identity}:{change.user}")

    async def _report(self, kind: EventType, topic: RoomId, data: dict[str, Any], identity: str) -> None:
        if kind in self._wanted:
            name = event_id(topic, kind, identity)
            event = Event(id=name, type=kind, time=_now(), source=SourceName.ERASURES, position=0, data=data)
            await self._append_event(topic, event)

    # --- changes that the log of members lacks ------------------------------------------------------------

    async def _compare(self, now: float) -> None:
        """Compare the members with their bucket now and then. Make events of what differs for a while.

        NATS copies every change into the log. It may miss some while a stream is made again.
        """
        if SourceName.MEMBERS not in self._sources or now < self._compare_at:
            return
        found = self._differences(await self._present())
        lasting = {member: name for member, name in found.items() if member in self._suspected}
        self._suspected = {member: name for member, name in found.items() if member not in lasting}
        self._compare_at = now + (_SETTLE_SECONDS if self._suspected else _COMPARE_SECONDS)
        for (room, user), name in lasting.items():
            log.warning("the log of members lacks a change", room=room, user=user, joined=name is not None)
            changes = self._members.remove(room, user) if name is None else self._members.put(room, user, name)
            time = _now()
            position = self._sources[SourceName.MEMBERS].position.sequence
            await self._append_changes(changes, position, time, f"{user}:{time}")

    def _differences(self, present: dict[Member, str]) -> dict[Member, str | None]:
        """Return the members about whom events are missing: their names, or None for those that are gone."""
        missing: dict[Member, str | None] = {
            member: name for member, name in present.items() if member not in self._members
        }
        return missing | dict.fromkeys(member for member in self._members.all() if member not in present)


def _now() -> str:
    """RFC 3339."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
