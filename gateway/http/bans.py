"""Bans over plain HTTP: from a room, and from everything. NATS keeps them and ends them."""

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
)
from studyroom.gateway.http.audit import Audit
from studyroom.gateway.http.moderation import NO_CONTENT, carried_out
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
    """Null: from everything."""
    seconds: int | None
    reason: str | None
    by: str
    until: int | None
    """Unix seconds."""


class BansBody(BaseModel):
    bans: list[BanBody]
    next: UserId | None = Field(description="To be sent as `after` for the next page; null on the last.")


After = Annotated[str | None, Query(description="The `next` of a page.", json_schema_extra={"format": "uuid"})]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


class _Bans:
    """What the same requests for a room and for everything have in common."""

    def __init__(self, access: Access, audit: Audit, moderation: Moderation, deadline_seconds: float) -> None:
        self._access = access
        self._audit = audit
        self._moderation = moderation
        self._deadline_seconds = deadline_seconds

    def _check(self, who: Backend | Identity, room: RoomId | None) -> None:
        """Raises HttpRefusal. From everything only a backend bans, and that was found out before."""
        if room is not None:
            self._access.check_moderates(who, room)

    async def put(self, who: Backend | Identity, user: UserId, room: RoomId | None, ban: NewBan) -> BanBody:
        until = int(time.time()) + ban.seconds
        command = Command(by=str(who), reason=ban.reason, seconds=ban.seconds, until=until)
        async with carried_out(self._deadline_seconds):
            with self._audit.action("ban", who, room=room, user=user, seconds=ban.seconds, reason=ban.reason):
                self._check(who, room)
                await self._moderation.command(Target(Kind.BAN, user, room), command, ttl_seconds=ban.seconds)
        return _body(user, room, command)

    async def lift(self, who: Backend | Identity, user: UserId, room: RoomId | None) -> None:
        async with carried_out(self._deadline_seconds):
            with self._audit.action("unban", who, room=room, user=user):
                self._check(who, room)
                await self._moderation.lift(Target(Kind.BAN, user, room))

    async def one(self, user: UserId, room: RoomId | None) -> BanBody:
        """Raises HttpRefusal when there is none."""
        async with carried_out(self._deadline_seconds):
            command = (await self._moderation.bans()).get((user, room))
        if command is None:
            raise HttpRefusal(HTTP_NOT_FOUND, ErrorCode.NOT_FOUND, "there is no such ban")
        return _body(user, room, command)

    async def page(self, room: RoomId | None, after: str | None, limit: int) -> BansBody:
        behind = parse_user(after) if after is not None else ""
        async with carried_out(self._deadline_seconds):
            bans = await self._moderation.bans()
        found = sorted(user for user, its_room in bans if its_room == room and user > behind)
        page = found[:limit]
        bodies = [_body(user, room, bans[user, room]) for user in page]
        return BansBody(bans=bodies, next=page[-1] if len(found) > limit else None)


def bans_router(access: Access, audit: Audit, moderation: Moderation, *, deadline_seconds: float) -> APIRouter:
    """From everything: for backends."""
    router = APIRouter(prefix="/api/v1/bans", responses=REFUSALS, tags=["bans"], dependencies=[BY_KEY])
    bans = _Bans(access, audit, moderation, deadline_seconds)

    @router.get("")
    async def list_bans(request: Request, response: Response, limit: Limit = 100, after: After = None) -> BansBody:
        """Users that are banned from everything."""
        access.backend(request, response)
        return await bans.page(None, after, limit)

    @router.get("/{user_id}", responses=_UNKNOWN)
    async def read_ban(user_id: UserPath, request: Request, response: Response) -> BanBody:
        access.backend(request, response)
        return await bans.one(parse_user(user_id), None)

    @router.put("/{user_id}")
    async def ban(user_id: UserPath, new: NewBan, request: Request, response: Response) -> BanBody:
        """Ban a user: connections are closed, and refused until the time is over. Again: it begins anew."""
        who = access.backend(request, response)
        return await bans.put(who, parse_user(user_id), None, new)

    @router.delete("/{user_id}", status_code=NO_CONTENT)
    async def lift_ban(user_id: UserPath, request: Request, response: Response) -> None:
        """Lift a ban, if there is one."""
        who = access.backend(request, response)
        await bans.lift(who, parse_user(user_id), None)

    return router


def room_bans_router(access: Access, audit: Audit, moderation: Moderation, *, deadline_seconds: float) -> APIRouter:
    """From a room: for backends, and for moderators of the room."""
    router = APIRouter(
        prefix="/api/v1/rooms/{room_id}/bans", responses=REFUSALS, tags=["bans"], dependencies=[BY_TOKEN, BY_KEY]
    )
    bans = _Bans(access, audit, moderation, deadline_seconds)

    @router.get("")
    async def list_bans(
        room_id: RoomPath, request: Request, response: Response, limit: Limit = 100, after: After = None
    ) -> BansBody:
        """Users that are banned from this room."""
        room = parse_room(room_id)
        access.check_moderates(access.caller(request, response), room)
        return await bans.page(room, after, limit)

    @router.get("/{user_id}", responses=_UNKNOWN)
    async def read_ban(room_id: RoomPath, user_id: UserPath, request: Request, response: Response) -> BanBody:
        room = parse_room(room_id)
        access.check_moderates(access.caller(request, response), room)
        return await bans.one(parse_user(user_id), room)

    @router.put("/{user_id}")
    async def ban(room_id: RoomPath, user_id: UserPath, new: NewBan, request: Request, response: Response) -> BanBody:
        """Ban a user from the room: connections leave it, and may not join. Again: the time begins anew."""
        who = access.caller(request, response)
        return await bans.put(who, parse_user(user_id), parse_room(room_id), new)

    @router.delete("/{user_id}", status_code=NO_CONTENT)
    async def lift_ban(room_id: RoomPath, user_id: UserPath, request: Request, response: Response) -> None:
        """Lift a ban, if there is one."""
        who = access.caller(request, response)
        await bans.lift(who, parse_user(user_id), parse_room(room_id))

    return router


def _body(user: UserId, room: RoomId | None, command: Command) -> BanBody:
    return BanBody(
        user_id=user, room_id=room, seconds=command.seconds, reason=command.reason, by=command.by, until=command.until
    )
