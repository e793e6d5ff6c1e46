"""Erasure over HTTP, for trusted backends."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from studyroom.gateway.erasure.erasures import Erasures, TooManyErasures
from studyroom.gateway.http.access import (
    BY_KEY,
    HTTP_INSUFFICIENT_STORAGE,
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
from studyroom.shared.chassis.nats.bus import StorageFull
from studyroom.shared.contract.audit import Action, Outcome, fingerprint
from studyroom.shared.contract.errors import ErrorCode

_ACCEPTED, _TOO_MANY = 202, 429
_UNKNOWN: dict[int | str, dict[str, object]] = {HTTP_NOT_FOUND: {"model": ErrorBody}}
_BUSY: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorBody} for status in (_TOO_MANY, HTTP_INSUFFICIENT_STORAGE)
}
Since = Annotated[
    int, Query(ge=0, le=2**32, description="Unix seconds: when the backup began that was restored, or earlier.")
]

Before = Annotated[int, Query(ge=1, le=2**32, description="Unix seconds.")]


class Requested(BaseModel):
    outcome: Outcome = Outcome.REQUESTED


class ErasureBody(BaseModel):
    outcome: Outcome = Field(
        description="`requested` and `running`: it goes on. `done`: it is complete. `interrupted`: request it again."
    )
    at: datetime = Field(description="When this was recorded.")
    by: str = Field(description="The caller that has requested it.")
    began: datetime | None = Field(description="With `done`: what was stored before this time is gone.")
    messages: int | None = Field(description="How many messages, edits and reactions were erased so far.")
    documents: int | None = Field(description="How many documents were deleted, or named the user.")
    commands: int | None = Field(description="How many bans and other commands of moderators were removed.")


def erasure_router(access: Access, audit: Audit, erasures: Erasures, *, deadline_seconds: float) -> APIRouter:
    router = APIRouter(prefix="/api/v1", responses=REFUSALS, tags=["erasure"], dependencies=[BY_KEY])

    @router.delete("/users/{user_id}", status_code=_ACCEPTED, responses=_BUSY)
    async def erase_user(user_id: UserPath, request: Request, response: Response) -> Requested:
        """Erase everything that is stored of a user. The user is disconnected, and refused until it is done."""
        caller = access.backend(request, response)
        user = parse_user(user_id)
        async with within_deadline(deadline_seconds, ErrorCode.AUDIT_UNAVAILABLE):
            with audit.action("erase_user", caller, fingerprint=fingerprint(user)), _refused():
                await erasures.erase_user(user, str(caller))
        return Requested()

    @router.get("/users/{user_id}/erasure", responses=_UNKNOWN)
    async def erasure_of_user(user_id: UserPath, request: Request, response: Response) -> ErasureBody:
        """Read the outcome of the last erasure of a user."""
        access.backend(request, response)
        return await _outcome(erasures, Action.ERASE_USER, fingerprint(parse_user(user_id)), deadline_seconds)

    @router.delete("/rooms/{room_id}", status_code=_ACCEPTED, responses=_BUSY)
    async def erase_room(room_id: RoomPath, request: Request, response: Response) -> Requested:
        """Erase everything that is stored of a room. Its members are removed, and may join the empty room."""
        caller = access.backend(request, response)
        room = parse_room(room_id)
        async with within_deadline(deadline_seconds, ErrorCode.AUDIT_UNAVAILABLE):
            with audit.action("erase_room", caller, room=room), _refused():
                await erasures.erase_room(room, str(caller))
        return Requested()

    @router.get("/rooms/{room_id}/erasure", responses=_UNKNOWN)
    async def erasure_of_room(room_id: RoomPath, request: Request, response: Response) -> ErasureBody:
        """Read the outcome of the last erasure of a room."""
        access.backend(request, response)
        return await _outcome(erasures, Action.ERASE_ROOM, parse_room(room_id), deadline_seconds)

    return router


def repetition_router(access: Access, audit: Audit, erasures: Erasures, *, deadline_seconds: float) -> APIRouter:
    """Erasures that backends request again and again, or after a restore."""
    router = APIRouter(prefix="/api/v1", responses=REFUSALS, tags=["erasure"], dependencies=[BY_KEY])

    @router.delete("/rooms/{room_id}/messages", status_code=_ACCEPTED, responses=_BUSY)
    async def erase_old_messages(room_id: RoomPath, before: Before, request: Request, response: Response) -> Requested:
        """Erase the messages of a room that were stored before a time, with their edits and reactions."""
        caller = access.backend(request, response)
        room = parse_room(room_id)
        async with within_deadline(deadline_seconds, ErrorCode.AUDIT_UNAVAILABLE):
            with audit.action("erase_old_messages", caller, room=room, before=before), _refused():
                await erasures.erase_old_messages(room, before, str(caller))
        return Requested()

    @router.get("/rooms/{room_id}/erasure/messages", responses=_UNKNOWN)
    async def erasure_of_old_messages(room_id: RoomPath, request: Request, response: Response) -> ErasureBody:
        """Read the outcome of the last erasure of old messages of a room."""
        access.backend(request, response)
        return await _outcome(erasures, Action.ERASE_OLD_MESSAGES, parse_room(room_id), deadline_seconds)

    @router.put("/erasures", status_code=_ACCEPTED, responses=_BUSY)
    async def repeat_erasures(since: Since, request: Request, response: Response) -> Requested:
        """Erase again what was erased since a time, because a restored backup has brought it back."""
        caller = access.backend(request, response)
        async with within_deadline(deadline_seconds, ErrorCode.AUDIT_UNAVAILABLE):
            with audit.action("repeat_erasures", caller, since=since), _refused():
                await erasures.repeat(since, str(caller))
        return Requested()

    @router.get("/erasures", responses=_UNKNOWN)
    async def repeated_erasures(since: Since, request: Request, response: Response) -> ErasureBody:
        """Read the outcome of the last repetition with this time."""
        access.backend(request, response)
        return await _outcome(erasures, Action.REPEAT, str(since), deadline_seconds)

    return router


@contextmanager
def _refused() -> Iterator[None]:
    """Raises HttpRefusal if the request cannot be recorded or begun. Nothing is erased then."""
    try:
        yield
    except StorageFull as error:
        reason = "the audit stream is full, so nothing is erased"
        raise HttpRefusal(HTTP_INSUFFICIENT_STORAGE, ErrorCode.AUDIT_STORAGE_FULL, reason) from error
    except TooManyErasures as error:
        raise HttpRefusal(_TOO_MANY, ErrorCode.RATE_LIMITED, str(error), Retry_After="5") from error


async def _outcome(erasures: Erasures, action: Action, target: str, deadline_seconds: float) -> ErasureBody:
    """Raises HttpRefusal."""
    async with within_deadline(deadline_seconds, ErrorCode.AUDIT_UNAVAILABLE):
        found = await erasures.newest(action, target)
    if found is None:
        raise HttpRefusal(HTTP_NOT_FOUND, ErrorCode.NOT_FOUND, "there is no record of an erasure")
    record = found.record
    return ErasureBody(
        outcome=record.outcome,
        at=found.at,
        by=record.by,
        began=datetime.fromtimestamp(record.began, UTC) if record.began is not None else None,
        messages=record.messages,
        documents=record.documents,
        commands=record.commands,
    )
