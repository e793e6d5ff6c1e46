"""Bans over HTTP, from a room or from the whole service. NATS stores them, and removes them when they expire."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.http.access import (
    BY_KEY,
    BY_TOKEN,
    HTTP_NOT_FOUND,
    REFUSALS,
    Access,
    Backend,
    ErrorBody,
    HttpRefusal,
    RoomPath,
    UserPath,
    parse_room,
    parse_user,
    within_deadline,
)
from studyroom.gateway.http.audit import Audit
from studyroom.gateway.http.moderation import NO_CONTENT
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.moderation import Command, Kind, Target
from studyroom.shared.contract.text import ONE_LINE

PAGE_MAX = 1000
_SECONDS_MAX = 10 * 365 * 86_400
_UNKNOWN: dict[int | str, dict[str, object]] = {HTTP_NOT_FOUND: {"model": ErrorBody}}


class NewBan(BaseModel):
    seconds: int = Field(ge=1, le=_SECONDS_MAX)
    reason: str | None = Field(default=None, max_length=200, pattern=ONE_LINE)


class BanBody(BaseModel):
    user_id: UserId
    room_id: RoomId | None
    """Null for a ban from the whole service."""
    seconds: int | None
    reason: str | None
    by: str
    until: int | None
    """Unix seconds."""


class BansBody(BaseModel):
    bans: list[BanBody]
    next: UserId | None = Field(description="Send it as `after` to get the next page. Null on the last page.")


After = Annotated[str | None, Query(description="The `next` of the page before.", json_schema_extra={"format": "uuid"})]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


class _Bans:
    """The operations behind the requests. A room of None stands for the whole service."""

    def __init__(self, access: Access, audit: Audit, moderation: Moderation, deadline_seconds: float) -> None:
        self._access = access
        self._audit = audit
        self._moderation = moderation
        self._deadline_seconds = deadline_seconds

    def _check(self, caller: Backend | Identity, room: RoomId | None) -> None:
        """Raises HttpRefusal. For the whole service the routes have checked already that the caller is a backend."""
        if room is not None:
            self._access.check_moderates(caller, room)

    async def put(self, caller: Backend | Identity, user: UserId, room: RoomId | None, ban: NewBan) -> BanBody:
        until = int(time.time()) + ban.seconds
        command = Command(by=str(caller), reason=ban.reason, seconds=ban.seconds, until=until)
        async with within_deadline(self._deadline_seconds, ErrorCode.MODERATION_UNAVAILABLE):
            with self._audit.action("ban", caller, room=room, user=user, seconds=ban.seconds, reason=ban.reason):
                self._check(caller, room)
                await self._moderation.command(Target(Kind.BAN, user, room), command, ttl_seconds=ban.seconds)
        return _body(user, room, command)

    async def lift(self, caller: Backend | Identity, user: UserId, room: RoomId | None) -> None:
        async with within_deadline(self._deadline_seconds, ErrorCode.MODERATION_UNAVAILABLE):
            with self._audit.action("unban", caller, room=room, user=user):
                self._check(caller, room)
                await self._moderation.lift(Target(Kind.BAN, user, room))

    async def get(self, user: UserId, room: RoomId | None) -> BanBody:
        """Raises HttpRefusal if the user is not banned."""
        async with within_deadline(self._deadline_seconds, ErrorCode.MODERATION_UNAVAILABLE):
            command = (await self._moderation.bans()).get((user, room))
        if command is None:
            raise HttpRefusal(HTTP_NOT_FOUND, ErrorCode.NOT_FOUND, "there is no such ban")
        return _body(user, room, command)

    async def page(self, room: RoomId | None, after: str | None, limit: int) -> BansBody:
        last_seen = parse_user(after) if after is not None else ""
        async with within_deadline(self._deadline_seconds, ErrorCode.MODERATION_UNAVAILABLE):
            bans = await self._moderation.bans()
        found = sorted(user for user, its_room in bans if its_room == room and user > last_seen)
        page = found[:limit]
        bodies = [_body(user, room, bans[user, room]) for user in page]
        return BansBody(bans=bodies, next=page[-1] if len(found) > limit else None)


def bans_router(access: Access, audit: Audit, moderation: Moderation, *, deadline_seconds: float) -> APIRouter:
    """Bans from the whole service, for backends."""
    router = APIRouter(prefix="/api/v1/bans", responses=REFUSALS, tags=["bans"], dependencies=[BY_KEY])
    bans = _Bans(access, audit, moderation, deadline_seconds)

    @router.get("")
    async def list_bans(request: Request, response: Response, limit: Limit = 100, after: After = None) -> BansBody:
        """List the users who are banned from the whole service."""
        access.backend(request, response)
        return await bans.page(None, after, limit)

    @router.get("/{user_id}", responses=_UNKNOWN)
    async def read_ban(user_id: UserPath, request: Request, response: Response) -> BanBody:
        access.backend(request, response)
        return await bans.get(parse_user(user_id), None)

    @router.put("/{user_id}")
    async def ban(user_id: UserPath, new: NewBan, request: Request, response: Response) -> BanBody:
        """Ban a user from the whole service. Gateways close the user's connections and refuse new ones until the ban
        ends. A repeated request replaces the ban, and its time starts again."""
        caller = access.backend(request, response)
        return await bans.put(caller, parse_user(user_id), None, new)

    @router.delete("/{user_id}", status_code=NO_CONTENT)
    async def lift_ban(user_id: UserPath, request: Request, response: Response) -> None:
        """Lift a ban. Succeeds also if there is none."""
        caller = access.backend(request, response)
        await bans.lift(caller, parse_user(user_id), None)

    return router


def room_bans_router(access: Access, audit: Audit, moderation: Moderation, *, deadline_seconds: float) -> APIRouter:
    """Bans from one room, for backends and for moderators of the room."""
    router = APIRouter(
        prefix="/api/v1/rooms/{room_id}/bans", responses=REFUSALS, tags=["bans"], dependencies=[BY_TOKEN, BY_KEY]
    )
    bans = _Bans(access, audit, moderation, deadline_seconds)

    @router.get("")
    async def list_bans(
        room_id: RoomPath, request: Request, response: Response, limit: Limit = 100, after: After = None
    ) -> BansBody:
        """List the users who are banned from this room."""
        room = parse_room(room_id)
        access.check_moderates(access.caller(request, response), room)
        return await bans.page(room, after, limit)

    @router.get("/{user_id}", responses=_UNKNOWN)
    async def read_ban(room_id: RoomPath, user_id: UserPath, request: Request, response: Response) -> BanBody:
        room = parse_room(room_id)
        access.check_moderates(access.caller(request, response), room)
        return await bans.get(parse_user(user_id), room)

    @router.put("/{user_id}")
    async def ban(room_id: RoomPath, user_id: UserPath, new: NewBan, request: Request, response: Response) -> BanBody:
        """Ban a user from the room. The user's connections leave it and cannot join until the ban ends. A repeated
        request replaces the ban, and its time starts again."""
        caller = access.caller(request, response)
        return await bans.put(caller, parse_user(user_id), parse_room(room_id), new)

    @router.delete("/{user_id}", status_code=NO_CONTENT)
    async def lift_ban(room_id: RoomPath, user_id: UserPath, request: Request, response: Response) -> None:
        """Lift a ban. Succeeds also if there is none."""
        caller = access.caller(request, response)
        await bans.lift(caller, parse_user(user_id), parse_room(room_id))

    return router


def _body(user: UserId, room: RoomId | None, command: Command) -> BanBody:
    return BanBody(
        user_id=user, room_id=room, seconds=command.seconds, reason=command.reason, by=command.by, until=command.until
    )
