"""The live log of a room: `studyroom room ID --follow`."""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from studyroom.services.inspector.asking import Asker
from studyroom.services.inspector.events import Event, RoomLog
from studyroom.services.inspector.looking import members_of
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import read_all
from studyroom.shared.chassis.nats.bus import Bus, BusError, Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.groups import all_groups
from studyroom.shared.contract.headers import LAST_SEQUENCE, SEQUENCE, TIME, is_removal
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.inspection_subjects import presence_keys_of_room
from studyroom.shared.contract.moderation import Command, target_of
from studyroom.shared.contract.presence import Entry

log = logs.get(__name__)

_COMPARE_SECONDS = 10.0
"""How often the members are compared with the stream, because NATS can lose an announcement without any sign."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How events are printed."""

    line: Callable[[str], None]
    """Prints a line."""
    with_content: bool = False
    """Whether the content of messages is printed too."""
    for_programs: bool = False
    """Whether each line is JSON."""


class Follower:
    def __init__(self, bus: Bus, groups: int, room: RoomId, shown: Shown) -> None:
        group = all_groups(groups)[subjects.shard_of(room) % groups]
        self._bus = bus
        self._room = room
        self._presence_stream, self._chat_stream = group.presence_stream, group.chat_stream
        self._shown = shown
        self._log = RoomLog(room, with_content=shown.with_content)
        self._early: list[Message] | None = []
        """Messages that come before the members are known; None afterwards."""
        self._compare_now = asyncio.Event()
        self._ends = False

    async def run(self) -> None:
        """Print events until cancelled. Raises BusError at the start; later it waits until NATS is there again."""
        try:
            await self._begin()
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_COMPARE_SECONDS):
                        await self._compare_now.wait()
                self._compare_now.clear()
                await self._compare()
        finally:
            self._ends = True

    async def _begin(self) -> None:
        self._bus.on_disconnected(self._disconnected)
        self._bus.on_reconnected(self._reconnected)
        await self._bus.subscribe(subjects.room_events(self._room), self._receive)
        await self._bus.subscribe(subjects.MODERATION_EVENTS, self._receive)
        await self._bus.flush()
        asker = Asker(self._bus)
        reads = await read_all(self._bus, self._presence_stream, presence_keys_of_room(self._room))
        members, _ = members_of(reads)
        self._log.begin(members, await asker.newest_sequence(self._chat_stream, subjects.chat(self._room)))
        self._print([Event("", "following", fields={"room": self._room, "members": len(members)})])
        early, self._early = self._early or [], None
        for message in early:
            self._receive(message)

    async def _compare(self) -> None:
        """Print what was not announced."""
        known = self._log.newest
        try:
            reads = await read_all(self._bus, self._presence_stream, presence_keys_of_room(self._room))
        except BusError as error:
            log.warning("could not compare the members with the stream", error=str(error))
            return
        members, removed = members_of(reads)
        self._print(self._log.compare(members, removed, known))

    def _disconnected(self) -> None:
        if not self._ends:
            self._print([Event("", "disconnected from NATS", fields={"reason": self._bus.why_away or "unknown"})])

    async def _reconnected(self) -> None:
        self._print([Event("", "connected to NATS")])
        self._compare_now.set()

    def _receive(self, message: Message) -> None:
        if self._early is not None:
            self._early.append(message)
            return
        try:
            self._print(self._events(message))
        except (KeyError, TypeError, ValueError) as error:
            log.error("malformed event", subject=message.subject, error=type(error).__name__)

    def _events(self, message: Message) -> Iterable[Event]:
        headers = message.headers or {}
        if message.subject.startswith(f"{subjects.MODERATION_BUCKET}."):
            if subjects.is_chat_incarnation(message.subject):
                return ()
            command = None if is_removal(headers) else Command.decode(message.data)
            return self._log.moderation(target_of(message.subject), command, headers[TIME])
        kind = subjects.room_event_kind(message.subject)
        if kind == "presence":
            user, sequence = subjects.room_event_user(message.subject), int(headers[SEQUENCE])
            return self._log.change(user, None if is_removal(headers) else _entry(message), sequence, headers[TIME])
        if kind == "chat":
            return self._log.chat(message.data, int(headers[SEQUENCE]), int(headers[LAST_SEQUENCE]), headers[TIME])
        return ()  # cursors and other notices, which nobody stores

    def _print(self, events: Iterable[Event]) -> None:
        for event in events:
            self._shown.line(json.dumps(event.as_json()) if self._shown.for_programs else str(event))


def _entry(message: Message) -> Entry | None:
    """Return None for a malformed entry, which presence and gateways treat as a removal."""
    try:
        return Entry.decode(message.data)
    except ValidationError as error:
        log.error("malformed presence entry", subject=message.subject, error=str(error))
        return None
