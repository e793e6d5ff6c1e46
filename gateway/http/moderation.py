"""Moderation over HTTP, for trusted backends in every room and for moderators in their own rooms.

Every request may be repeated. A success means that NATS has stored the command. Every gateway carries it out, also one
that is disconnected now or starts later.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.chat.stream import NotInRoom
from studyroom.gateway.http.access import (
    BY_KEY,
    BY_TOKEN,
    HTTP_NOT_FOUND,
    REFUSALS,
    Access,
    ErrorBody,
    HttpRefusal,
    RoomPath,
    UserPath,
    parse_room,
    parse_user,
    within_deadline,
)
from studyroom.gateway.http.audit import Audit
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import MessageIdField
from studyroom.shared.contract.moderation import COMMAND_SECONDS, Command, Kind, Target

NO_CONTENT = 204
_SEQUENCE_MAX = 2**63 - 1


def moderation_router(
    access: Access, audit: Audit, deletions: Deletions, moderation: Moderation, *, deadline_seconds: float
) -> APIRouter:
    router = APIRouter(prefix="/api/v1", responses=REFUSALS, tags=["moderation"])

    @router.delete(
        "/rooms/{room_id}/messages/{seq}",
        status_code=NO_CONTENT,
        responses={HTTP_NOT_FOUND: {"model": ErrorBody}},
        dependencies=[BY_TOKEN, BY_KEY],
    )
    async def delete_message(
        room_id: RoomPath,
        seq: Annotated[int, Path(ge=1, le=_SEQUENCE_MAX)],
        request: Request,
        response: Response,
        message: Annotated[
            MessageIdField | None,
            Query(alias="id", description="The message's id. You get 404 if the message at `seq` has another id."),
        ] = None,
    ) -> None:
        """Delete a message. The server erases it and asks members to remove it. Succeeds also if it is gone already."""
        caller = access.caller(request, response)
        room = parse_room(room_id)
        async with within_deadline(deadline_seconds, ErrorCode.MODERATION_UNAVAILABLE):
            with audit.action("delete_message", caller, room=room, seq=seq):
                access.check_moderates(caller, room)
                try:
                    await deletions.delete(room, seq, message)
                except NotInRoom as error:
                    raise HttpRefusal(HTTP_NOT_FOUND, ErrorCode.NOT_FOUND, str(error)) from error

    @router.delete("/rooms/{room_id}/members/{user_id}", status_code=NO_CONTENT, dependencies=[BY_TOKEN, BY_KEY])
    async def remove_member(room_id: RoomPath, user_id: UserPath, request: Request, response: Response) -> None:
        """Remove a user from a room, with all of their connections. Unless banned, the user may join again."""
        caller = access.caller(request, response)
        target = Target(Kind.REMOVE, parse_user(user_id), room := parse_room(room_id))
        async with within_deadline(deadline_seconds, ErrorCode.MODERATION_UNAVAILABLE):
            with audit.action("remove_member", caller, room=room, user=target.user):
                access.check_moderates(caller, room)
                await moderation.command(target, Command(by=str(caller)), ttl_seconds=COMMAND_SECONDS)

    @router.post("/users/{user_id}/disconnect", status_code=NO_CONTENT, dependencies=[BY_KEY])
    async def disconnect_user(user_id: UserPath, request: Request, response: Response) -> None:
        """Close every connection of a user, with a close code that asks the client not to reconnect by itself."""
        caller = access.backend(request, response)
        target = Target(Kind.DISCONNECT, parse_user(user_id))
        async with within_deadline(deadline_seconds, ErrorCode.MODERATION_UNAVAILABLE):
            with audit.action("disconnect_user", caller, user=target.user):
                await moderation.command(target, Command(by=str(caller)), ttl_seconds=COMMAND_SECONDS)

    return router
