"""Rooms and rosters over plain HTTP, answered by presence: `/api/v1/rooms`."""

import asyncio
import re
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from gateway.credentials import Unauthorized, combined
from gateway.identity import Authenticator, Identity
from gateway.key_ring import KeysUnavailable
from gateway.presence_client import PresenceClient, PresenceRefused
from shared import subjects
from shared.errors import ErrorCode
from shared.ids import RoomId, UserId, canonical_uuid
from shared.messages import UserPresence
from shared.presence import Member, RoomsRequest

PAGE_MAX = 1000
HTTP_BAD_REQUEST, _HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN, HTTP_UNAVAILABLE = 400, 401, 403, 503


RoomPath = Annotated[str, Path(json_schema_extra={"format": "uuid"})]
"""Read by `admit_to` and `parse_room`: who may not ask is told that before anything else."""
_PLACE = re.compile(r"(\d|[1-5]\d|6[0-3])-([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?", re.ASCII)
"""The `next` of a page: `<shard>-<room id>`, the last room of the page before; without a room, the shard's first."""


class HttpRefusal(Exception):
    """Becomes the answer: the status, and the JSON body with code and message."""

    def __init__(self, status: int, code: ErrorCode, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class ErrorBody(BaseModel):
    code: ErrorCode
    message: str


REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorBody} for status in (HTTP_BAD_REQUEST, _HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN, HTTP_UNAVAILABLE)
}


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


def rooms_router(
    presence: PresenceClient,
    authenticator: Authenticator,
    *,
    epoch: Callable[[str], str],
    deadline_seconds: float,
) -> APIRouter:
    """`epoch`: from the epoch of the presence stream to the one that clients see."""
    router = APIRouter(prefix="/api/v1/rooms", responses=REFUSALS, tags=["rooms"])

    @router.get("/{room_id}/roster")
    async def roster(room_id: RoomPath, request: Request, response: Response) -> RosterBody:
        """Who is in a room. A room in which nobody is has no users."""
        room = admit_to(room_id, authenticator, request, response)
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

        Only for those who may enter all rooms.
        """
        if admit(authenticator, request, response).rooms is not None:
            raise _not_allowed("the access token does not grant all rooms")
        shard, behind = _place(after)
        found: list[RoomBody] = []
        next_shard: int | None = shard
        try:
            async with asyncio.timeout(deadline_seconds):
                while next_shard is not None and len(found) < limit:
                    shard = next_shard
                    reply = await presence.rooms(RoomsRequest(shard=shard, after=behind, limit=limit - len(found)))
                    found += [RoomBody(room_id=one.room, members=one.members) for one in reply.rooms]
                    next_shard, behind = reply.next_shard, ""
        except (PresenceRefused, TimeoutError) as error:
            raise _unavailable(presence, subjects.presence_rooms(shard)) from error
        return RoomsBody(rooms=found, next=_next(next_shard, found))

    return router


def admit(authenticator: Authenticator, request: Request, response: Response) -> Identity:
    """Whoever may open a WebSocket may ask. Raises HttpRefusal."""
    try:
        who = authenticator.identify(request.query_params, combined(request.headers.items()))
    except Unauthorized as error:
        raise unauthorized(str(error)) from error
    except KeysUnavailable as error:
        raise HttpRefusal(HTTP_UNAVAILABLE, ErrorCode.KEYS_UNAVAILABLE, str(error), Retry_After="1") from error
    response.headers["Cache-Control"] = "no-store"
    return who


def admit_to(room_id: str, authenticator: Authenticator, request: Request, response: Response) -> RoomId:
    """Whoever may join a room may ask about it. Raises HttpRefusal."""
    who = admit(authenticator, request, response)
    room = parse_room(room_id)
    if not who.may_enter(room):
        raise _not_allowed("the access token does not grant this room")
    return room


def _not_allowed(why: str) -> HttpRefusal:
    return HttpRefusal(_HTTP_FORBIDDEN, ErrorCode.ROOM_NOT_ALLOWED, why)


def unauthorized(why: str) -> HttpRefusal:
    return HttpRefusal(_HTTP_UNAUTHORIZED, ErrorCode.UNAUTHORIZED, why, WWW_Authenticate="Bearer")


def parse_room(text: str) -> RoomId:
    """Raises HttpRefusal."""
    try:
        return RoomId(canonical_uuid(text))
    except ValueError as error:
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, f"room_id: {error}") from error


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
