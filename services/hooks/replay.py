"""Carries out `studyroom hooks replay`: sends events of the log to the backend once more, with their ids."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from studyroom.services.hooks.delivery import Contents
from studyroom.services.hooks.event_log import EventLog
from studyroom.services.hooks.events import Logged
from studyroom.services.hooks.positions import is_later
from studyroom.services.hooks.retries import pause_seconds
from studyroom.services.hooks.sending import Sender
from studyroom.services.hooks.settings import HooksSettings
from studyroom.shared.chassis.commands import Failed, connected
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.chassis.settings import NatsSettings, Settings, StorageSettings
from studyroom.shared.contract.groups import all_groups
from studyroom.shared.contract.ids import RoomId

_ATTEMPTS = 5
"""How often an event is sent before the replay stops."""

Report = Callable[[str], None]
"""Prints a line."""


async def send_again(
    settings: Mapping[type[Settings], Any],
    *,
    since: datetime,
    until: datetime | None,
    room: RoomId | None,
    report: Report,
) -> None:
    """Send the events that were stored from `since` until `until`, in order per room. Raises Failed.

    `until`: None for now. `room`: its events only. Events that leave the log meanwhile are left out.
    """
    own: HooksSettings = settings[HooksSettings]
    end = until or datetime.now(UTC)
    sender = Sender(own)
    try:
        async with connected(settings[NatsSettings], "hooks") as bus:
            sent = 0
            for group in all_groups(settings[StorageSettings].groups):
                events = EventLog(bus, group)
                contents = Contents(bus, group, events)
                await events.open()
                async for page in _pages(events, since, end):
                    chosen = [logged for logged in page if room in {None, logged.room}]
                    await _send_all(chosen, contents, sender, own)
                    sent += len(chosen)
            report(f"sent {sent} events again")
    except BusError as error:
        raise Failed(f"cannot read the log: {error}") from error
    finally:
        await sender.close()


async def _pages(events: EventLog, since: datetime, until: datetime) -> AsyncIterator[list[Logged]]:
    position = await events.first_since(_rfc3339(since)) - 1
    while position >= 0:
        page = await events.read(position)
        wanted = [logged for logged in page.events if not is_later(logged.stored, _rfc3339(until))]
        yield wanted
        if not page.last or len(wanted) < len(page.events):
            return
        position = page.last


async def _send_all(page: list[Logged], contents: Contents, sender: Sender, own: HooksSettings) -> None:
    """Send events, those of a room one after the other. Raises Failed or BusError."""
    rooms: dict[RoomId, list[Logged]] = {}
    for logged in page:
        rooms.setdefault(logged.room, []).append(logged)
    slots = asyncio.Semaphore(own.concurrent_requests)

    async def send_room(events: list[Logged]) -> None:
        for logged in events:
            async with slots:
                await _send(logged, contents, sender, own)

    outcomes = await asyncio.gather(*map(send_room, rooms.values()), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _send(logged: Logged, contents: Contents, sender: Sender, own: HooksSettings) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        body = await contents.body(logged)
        if body is None or (result := await sender.send(logged.event.id, body)).is_delivered:
            return
        if attempt < _ATTEMPTS:
            asked = result.retry_after_seconds
            await asyncio.sleep(pause_seconds(attempt, own.retry_max_seconds, asked, random.uniform))
    raise Failed(
        f"the backend did not take {logged.event.id} of room {logged.room}: {result.reason}. Go on with --since "
        f"{logged.stored}"
    )


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
