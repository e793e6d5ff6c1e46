"""Rooms and rosters over plain HTTP, answered by presence: `/api/v1/rooms`."""

import asyncio
import re
from collections.abc import Callable
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
from studyroom.shared.contract import subjects
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.messages import UserPresence
from studyroom.shared.contract.presence import Member

PAGE_MAX = 1000
_PLACE = re.compile(r"(\d|[1-5]\d|6[0-3])-([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?", re.ASCII)
"""The `next` of a page: `<shard>-<room id>`, the last room of the page before; without a room, the shard's first."""


class RosterBody(BaseModel):
    room_id: RoomId
    epoch: str
    """As in `JoinedRoom`."""
    revision: int
    """Grows with every change of any room, within an epoch."""
    users: list[UserPresence]


class RoomBody(BaseModel):
    room_id: RoomId
    members: int


class RoomsBody(BaseModel):
    rooms: list[RoomBody]
    next: str | None = Field(description="To be sent as `after` for the next page; null on the last.")
    missing_shards: list[int] = Field(
        description="Shards, of 64, whose rooms are missing on this page since nobody answers for them now; else empty."
    )


def rooms_router(
    presence: PresenceClient,
    access: Access,
    *,
    epoch: Callable[[str], str],
    deadline_seconds: float,
) -> APIRouter:
    """`epoch`: from the epoch of the presence stream to the one that clients see."""
    router = APIRouter(prefix="/api/v1/rooms", responses=REFUSALS, tags=["rooms"], dependencies=[BY_TOKEN, BY_KEY])

    @router.get("/{room_id}/roster")
    async def roster(room_id: RoomPath, request: Request, response: Response) -> RosterBody:
        """Who is in a room. A room in which nobody is has no users."""
        room = access.reader(room_id, request, response)
        subject = subjects.presence_roster(subjects.shard_of(room))
        try:
            async with asyncio.timeout(deadline_seconds):
                reply = await presence.roster(room)
        except (PresenceRefused, TimeoutError) as error:
            raise _unavailable(presence, subject) from error
        return RosterBody.model_construct(
            room_id=room,
            epoch=epoch(reply.epoch),
            revision=reply.revision,
            users=[_user(member) for member in reply.members or []],
        )

    @router.get("")
    async def rooms(
        request: Request,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
        after: Annotated[str | None, Query(json_schema_extra={"pattern": f"^{_PLACE.pattern}$"})] = None,
    ) -> RoomsBody:
        """Rooms in which somebody is, each once over all pages. What comes and goes meanwhile may be missing.

        Where nobody answers for some shards, those are named, and the others are listed. Only for those who may enter
        all rooms.
        """
        who = access.caller(request, response)
        if isinstance(who, Identity) and who.rooms is not None:
            raise room_not_allowed("the access token does not grant all rooms")
        shard, behind = _place(after)
        page = await list_rooms(presence, shard=shard, after=behind, limit=limit, deadline_seconds=deadline_seconds)
        if after is None and not page.answered:
            raise _unavailable(presence, subjects.presence_rooms(shard))
        found = [RoomBody(room_id=one.room, members=one.members) for one in page.rooms]
        return RoomsBody(rooms=found, next=_next(page.next_shard, found), missing_shards=page.missing)

    return router


def _user(member: Member) -> UserPresence:
    return UserPresence.model_construct(
        user_id=UserId(member.user),
        username=member.profile.username,
        avatar_url=member.profile.avatar_url,
        cursor=member.cursor,
    )


def _place(after: str | None) -> tuple[int, str]:
    """The shard and the room behind which a page begins. Raises HttpRefusal."""
    if after is None:
        return 0, ""
    if _PLACE.fullmatch(after) is None:
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, "after: not the `next` of a page")
    shard, _, room = after.partition("-")
    return int(shard), room


def _next(shard: int | None, found: list[RoomBody]) -> str | None:
    if shard is None:
        return None
    last = found[-1].room_id if found else None
    return f"{shard}-{last}" if last is not None and subjects.shard_of(last) == shard else f"{shard}-"


def _unavailable(presence: PresenceClient, subject: str) -> HttpRefusal:
    why = presence.why_unavailable(subject)
    return HttpRefusal(HTTP_UNAVAILABLE, ErrorCode.PRESENCE_UNAVAILABLE, why, Retry_After="1")
