"""Erases users and rooms from what is stored for hooks, as gateways ask for it, and lets the backend know.

Only the replica that works on a group of shards answers, because it has the members of the group in memory. It first
makes events of everything up to now and forgets the members. So nothing names them again, and what names them can go.
Every step may be repeated, and finds by itself what is left.
"""

import asyncio
import time

from studyroom.services.hooks.collector import Collector
from studyroom.services.hooks.delivery import Delivery
from studyroom.services.hooks.event_log import EventLog, Page
from studyroom.services.hooks.events import EventType
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import BatchReader
from studyroom.shared.chassis.nats.bus import Bus, BusError, BusUnavailable
from studyroom.shared.chassis.nats.stored import erase, subjects_of
from studyroom.shared.contract import hook_subjects
from studyroom.shared.contract.audit import fingerprint, is_until
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.hook_requests import Action, HooksAnswer, HooksRequest, Outcome, Report
from studyroom.shared.contract.ids import RoomId, UserId

log = logs.get(__name__)

_ANSWER_SECONDS = 4.0
"""An answer comes after this time, well before the gateway gives up, also if there is more to do."""
_BATCH_MAX, _BATCH_MAX_BYTES = 256, 1_048_576
_LAGGING_SECONDS = 0.05
_EVENTS = {
    Report.USER: EventType.USER_ERASED,
    Report.ROOM: EventType.ROOM_ERASED,
    Report.MESSAGES: EventType.MESSAGES_ERASED,
}


class _Unfinished(Exception):
    """There is more to do after this position in the log."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class Erasure:
    """Erases from one group of shards. Methods raise BusError."""

    def __init__(self, bus: Bus, group: Group, events: EventLog) -> None:
        self._bus = bus
        self._stream = group.member_log_stream
        self._log = events
        self._reader = BatchReader(bus, self._stream)

    async def open(self) -> None:
        await self._reader.open()

    async def answer(self, request: HooksRequest, collector: Collector, delivery: Delivery) -> HooksAnswer:
        try:
            if request.action is Action.REPORT:
                await _report(request, collector)
            else:
                await self._erase(request, collector, delivery)
        except _Unfinished as unfinished:
            return HooksAnswer(outcome=Outcome.UNFINISHED, position=unfinished.position)
        except (BusError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            log.warning("could not carry out an erasure", error=reason)
            return HooksAnswer(outcome=Outcome.UNAVAILABLE, reason=reason[:200])
        return HooksAnswer(outcome=Outcome.DONE)

    async def _erase(self, request: HooksRequest, collector: Collector, delivery: Delivery) -> None:
        """Raises BusError, TimeoutError or _Unfinished."""
        erased, until = _Erased(request), time.monotonic() + _ANSWER_SECONDS
        if not request.after:
            members, position = await collector.forget(erased.is_member)
            if any(erased.is_whole(user) for _, user in members):
                raise BusUnavailable("the user is still a member of a room")
            await self._erase_changes(erased, position)
        await self._erase_events(erased, request, until)
        async with asyncio.timeout(_ANSWER_SECONDS):
            await delivery.settle()

    async def _erase_changes(self, erased: "_Erased", up_to: int | None) -> None:
        """Erase the changes of members, up to a sequence or all."""
        for subject in await subjects_of(self._bus, self._stream, erased.changes):
            if erased.is_member(*hook_subjects.parse_member_log(subject)):
                await self._erase_changes_of(subject, erased, up_to)

    async def _erase_changes_of(self, subject: str, erased: "_Erased", up_to: int | None) -> None:
        room, user = hook_subjects.parse_member_log(subject)
        position = 0
        while True:
            batch = await self._reader.get(
                {"seq": position + 1, "next_by_subj": subject, "batch": _BATCH_MAX, "max_bytes": _BATCH_MAX_BYTES}
            )
            for read in batch.messages:
                if erased.has(room, user, read.time) and (up_to is None or read.sequence <= up_to):
                    await erase(self._bus, self._stream, read.sequence)
            position = max(position, batch.last)
            if not batch.pending:
                following = await self._bus.stored(self._stream, {"seq": position + 1, "next_by_subj": subject})
                if following is None:
                    return
                await asyncio.sleep(_LAGGING_SECONDS)

    async def _erase_events(self, erased: "_Erased", request: HooksRequest, until: float) -> None:
        """Erase events from the log up to the end that it has now. `until`: monotonic seconds. Raises _Unfinished."""
        position, (_, end) = request.after, await self._log.identify()
        while position < end:
            page = await self._page(request.room, position)
            for logged in page.events:
                if erased.has(logged.room, logged.user, logged.event.time):
                    await self._log.erase(logged.sequence)
            position = max(position, page.last)
            if not page.last:
                if not await self._log.has_after(request.room, position):
                    return
                await asyncio.sleep(_LAGGING_SECONDS)
            if time.monotonic() > until and position < end:
                raise _Unfinished(position)

    async def _page(self, room: RoomId | None, after: int) -> Page:
        return await self._log.read(after) if room is None else await self._log.read_room(room, after, _BATCH_MAX)


class _Erased:
    """The users or the room that a request names."""

    def __init__(self, request: HooksRequest) -> None:
        self._users = request.users
        self._room = request.room
        self._until = request.until
        self._known: dict[UserId, str] = {}
        """The fingerprints of users."""

    @property
    def changes(self) -> str:
        """The subjects in the log of members among which those are that have to go."""
        return hook_subjects.member_log_of(self._room) if self._room is not None else hook_subjects.MEMBER_LOG

    def is_member(self, room: RoomId, user: UserId) -> bool:
        return room == self._room or self._fingerprint(user) in self._users

    def is_whole(self, user: UserId) -> bool:
        """Whether everything about a user has to go, so that the user cannot be a member any more."""
        author = self._fingerprint(user)
        return author in self._users and self._users[author] is None

    def has(self, room: RoomId, user: UserId | None, stored_at: str) -> bool:
        """Whether an event or a change has to go. `stored_at`: RFC 3339."""
        if room == self._room and is_until(stored_at, self._until):
            return True
        return (
            user is not None
            and (author := self._fingerprint(user)) in self._users
            and is_until(stored_at, self._users[author])
        )

    def _fingerprint(self, user: UserId) -> str:
        known = self._known.get(user)
        if known is None:
            known = self._known[user] = fingerprint(user)
        return known


async def _report(request: HooksRequest, collector: Collector) -> None:
    """Raises BusError."""
    data: dict[str, object] = {}
    if request.report is Report.USER:
        data = {"user_sha256": request.target}
    elif request.report is Report.MESSAGES:
        data = {"before": request.before}
    await collector.report(_EVENTS[request.report], RoomId(request.target), data, request.token)
