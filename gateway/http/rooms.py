"""Rooms and rosters over HTTP (`/api/v1/rooms`), as presence knows them."""

import asyncio
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.http.access import (
    BY_KEY,
    BY_TOKEN,
    HTTP_BAD_REQUEST,
    HTTP_UNAVAILABLE,
    REFUSALS,
    Access,
    HttpRefusal,
    RoomPath,
    room_not_allowed,
)
from studyroom.gateway.http.room_listing import list_rooms
from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.gateway.rooms.history import ChatView
from studyroom.shared.contract import subjects
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.messages import UserPresence
from studyroom.shared.contract.presence import Member

PAGE_MAX = 1000
_PAGE_TOKEN = re.compile(r"(\d|[1-5]\d|6[0-3])-([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?", re.ASCII)
"""The `next` of a page: `<shard>-<last room of the page>`, or `<shard>-` to start at the shard's first room."""


class RosterBody(BaseModel):
    room_id: RoomId
    epoch: str
    """The same as in `JoinedRoom`."""
    revision: int
    """Grows with every change of any room, within one epoch."""
    users: list[UserPresence]


class RoomBody(BaseModel):
    room_id: RoomId
    members: int


class RoomsBody(BaseModel):
    rooms: list[RoomBody]
    next: str | None = Field(description="Send it as `after` to get the next page. Null on the last page.")
    missing_shards: list[int] = Field(
        description="Shards, of 64, that do not answer now, so that their rooms are missing on this page."
    )


def rooms_router(
    presence: PresenceClient,
    access: Access,
    chat: ByGroup[ChatView],
    *,
    deadline_seconds: float,
) -> APIRouter:
    router = APIRouter(prefix="/api/v1/rooms", responses=REFUSALS, tags=["rooms"], dependencies=[BY_TOKEN, BY_KEY])

    @router.get("/{room_id}/roster")
    async def roster(room_id: RoomPath, request: Request, response: Response) -> RosterBody:
        """List the members of a room. An empty or unknown room has none."""
        room = access.reader(room_id, request, response)
        subject = subjects.presence_roster(subjects.shard_of(room))
        try:
            async with asyncio.timeout(deadline_seconds):
                reply = await presence.roster(room)
        except (PresenceRefused, TimeoutError) as error:
            raise _unavailable(presence, subject) from error
        return RosterBody.model_construct(
            room_id=room,
            epoch=chat.of(room).epoch(reply.epoch),
            revision=reply.revision,
            users=[_user(member) for member in reply.members or []],
        )

    @router.get("")
    async def rooms(
        request: Request,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
        after: Annotated[str | None, Query(json_schema_extra={"pattern": f"^{_PAGE_TOKEN.pattern}$"})] = None,
    ) -> RoomsBody:
        """List the rooms that have members, each once over all pages. You need access to all rooms.

        A room that gains its first or loses its last member meanwhile may be missing. If some shards do not answer, the
        response names them and lists the rooms of the others.
        """
        caller = access.caller(request, response)
        if isinstance(caller, Identity) and caller.rooms is not None:
            raise room_not_allowed("the access token does not grant all rooms")
        shard, last_room = _parse_page_token(after)
        page = await list_rooms(presence, shard=shard, after=last_room, limit=limit, deadline_seconds=deadline_seconds)
        if after is None and not page.answered:
            raise _unavailable(presence, subjects.presence_rooms(shard))
        found = [RoomBody(room_id=summary.room, members=summary.members) for summary in page.rooms]
        return RoomsBody(rooms=found, next=_next(page.next_shard, found), missing_shards=page.missing)

    return router


def _user(member: Member) -> UserPresence:
    return UserPresence.model_construct(
        user_id=UserId(member.user),
        username=member.profile.username,
        avatar_url=member.profile.avatar_url,
        cursor=member.cursor,
        presence=member.fields or None,
    )


def _parse_page_token(after: str | None) -> tuple[int, str]:
    """The shard of a page, and the room that it starts after, which may be empty. Raises HttpRefusal."""
    if after is None:
        return 0, ""
    if _PAGE_TOKEN.fullmatch(after) is None:
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, "after: not the `next` of a page")
    shard, _, room = after.partition("-")
    return int(shard), room


def _next(shard: int | None, found: list[RoomBody]) -> str | None:
    if shard is None:
        return None
    last = found[-1].room_id if found else None
    return f"{shard}-{last}" if last is not None and subjects.shard_of(last) == shard else f"{shard}-"


def _unavailable(presence: PresenceClient, subject: str) -> HttpRefusal:
    reason = presence.why_unavailable(subject)
    return HttpRefusal(HTTP_UNAVAILABLE, ErrorCode.PRESENCE_UNAVAILABLE, reason, Retry_After="1")
