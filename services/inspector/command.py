"""Carries out the commands `studyroom room`, `studyroom user` and `studyroom inspector`."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from studyroom.services.inspector.examining import examine_room, examine_user
from studyroom.services.inspector.following import Follower, Shown
from studyroom.services.inspector.reports import room_as_json, room_as_text, user_as_json, user_as_text
from studyroom.shared.chassis.commands import Failed, connected
from studyroom.shared.chassis.nats.bus import Bus, BusError
from studyroom.shared.chassis.settings import NatsSettings, StorageSettings
from studyroom.shared.contract.ids import RoomId, UserId

_CONNECT_SECONDS = 5.0


async def inspect_room(
    nats: NatsSettings, storage: StorageSettings, room: RoomId, *, for_programs: bool, members_shown: int
) -> tuple[str, int]:
    """Return the report about a room, and the exit status. Raises Failed."""
    async with _connected(nats) as bus:
        verdict = await examine_room(bus, storage.groups, room)
    if for_programs:
        return json.dumps(room_as_json(verdict), indent=2), verdict.status
    return room_as_text(verdict, members_shown), verdict.status


async def inspect_user(
    nats: NatsSettings, storage: StorageSettings, user: UserId, *, for_programs: bool
) -> tuple[str, int]:
    """Return the report about a user, and the exit status. Raises Failed."""
    async with _connected(nats) as bus:
        verdict = await examine_user(bus, storage.groups, user)
    if for_programs:
        return json.dumps(user_as_json(verdict), indent=2), verdict.status
    return user_as_text(verdict), verdict.status


async def follow_room(nats: NatsSettings, storage: StorageSettings, room: RoomId, shown: Shown) -> None:
    """Print what happens in a room, until cancelled. Raises Failed."""
    async with _connected(nats) as bus:
        await Follower(bus, storage.groups, room, shown).run()


async def serve_page(
    nats: NatsSettings, storage: StorageSettings, *, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """Serve the page of the inspector until cancelled. `ready`: called with the address to open. Raises Failed."""
    from studyroom.services.inspector.page import Page
    from studyroom.shared.chassis import descriptors
    from studyroom.shared.chassis.http import HttpServer
    from studyroom.shared.chassis.listening import AddressUnavailable, listen

    try:
        listener = listen(host, port)
    except AddressUnavailable as error:
        raise Failed(str(error)) from error
    async with _connected(nats) as bus:
        page = Page(bus, storage.groups)
        server = HttpServer(page.app(), listener, below=descriptors.below_public(descriptors.limit()))
        await server.start()
        try:
            ready(f"http://{f'[{host}]' if ':' in host else host}:{server.port}/?token={page.token}")
            await asyncio.Event().wait()
        finally:
            await server.stop(1.0)


@asynccontextmanager
async def _connected(nats: NatsSettings) -> AsyncIterator[Bus]:
    """Connect as the inspector. Raises Failed, also for what NATS does not allow in the block."""
    async with connected(nats, "inspector", within_seconds=_CONNECT_SECONDS) as bus:
        try:
            yield bus
        except BusError as error:
            hint = "the NATS user must be `inspector`, or another with the same permissions"
            raise Failed(f"{error} ({hint})") from error
