"""The retention of rooms over HTTP, for trusted backends."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from studyroom.gateway.erasure.retention import Expiry, Policies
from studyroom.gateway.http.access import (
    BY_KEY,
    HTTP_INSUFFICIENT_STORAGE,
    HTTP_NOT_FOUND,
    REFUSALS,
    Access,
    ErrorBody,
    HttpRefusal,
    RoomPath,
    parse_room,
    within_deadline,
)
from studyroom.gateway.http.audit import Audit, Trail
from studyroom.gateway.http.moderation import NO_CONTENT
from studyroom.shared.chassis.nats.bus import StorageFull
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract.audit import Action, AuditRecord, Outcome
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.retention import Retention

_SECONDS_MAX = 10 * 365 * 86_400
_UNKNOWN: dict[int | str, dict[str, object]] = {HTTP_NOT_FOUND: {"model": ErrorBody}}
_FULL: dict[int | str, dict[str, object]] = {HTTP_INSUFFICIENT_STORAGE: {"model": ErrorBody}}


class NewRetention(BaseModel):
    messages_seconds: int | None = Field(
        None, ge=1, le=_SECONDS_MAX, description="How long messages are kept. Null for as long as those of all rooms."
    )
    versions_seconds: int | None = Field(
        None, ge=1, le=_SECONDS_MAX, description="How long versions of documents are kept. Null for ever."
    )


class RetentionBody(BaseModel):
    room_id: RoomId
    messages_seconds: int | None
    versions_seconds: int | None
    by: str = Field(description="The caller that has set it.")


def retention_router(
    access: Access, audit: Audit, trail: Trail, policies: Policies, expiry: Expiry, tasks: Tasks,
    *, deadline_seconds: float,
) -> APIRouter:  # fmt: skip
    router = APIRouter(
        prefix="/api/v1/rooms/{room_id}/retention", responses=REFUSALS, tags=["erasure"], dependencies=[BY_KEY]
    )

    @router.put("", responses=_FULL)
    async def set_retention(
        room_id: RoomPath, new: NewRetention, request: Request, response: Response
    ) -> RetentionBody:
        """Set how long a room keeps messages and versions of documents. Older ones are erased at once and from then on.
        A repeated request replaces the retention."""
        caller = access.backend(request, response)
        room, retention = parse_room(room_id), Retention(by=str(caller), **new.model_dump())
        record = AuditRecord(
            action=Action.SET_RETENTION, target=room, by=str(caller), outcome=Outcome.REQUESTED, **new.model_dump()
        )
        async with within_deadline(deadline_seconds, ErrorCode.AUDIT_UNAVAILABLE):
            with audit.action("set_retention", caller, room=room, **new.model_dump()):
                try:
                    await trail.write(record)
                    await policies.put(room, retention)
                except StorageFull as error:
                    reason = "the stream of records or the bucket of retention is full, so nothing is changed"
                    raise HttpRefusal(HTTP_INSUFFICIENT_STORAGE, ErrorCode.AUDIT_STORAGE_FULL, reason) from error
                await trail.write(record.model_copy(update={"outcome": Outcome.DONE}))
        tasks.spawn("retention of a room", expiry.apply(room, retention))
        return _body(room, retention)

    @router.get("", responses=_UNKNOWN)
    async def read_retention(room_id: RoomPath, request: Request, response: Response) -> RetentionBody:
        access.backend(request, response)
        room = parse_room(room_id)
        async with within_deadline(deadline_seconds, ErrorCode.AUDIT_UNAVAILABLE):
            retention = await policies.get(room)
        if retention is None:
            raise HttpRefusal(HTTP_NOT_FOUND, ErrorCode.NOT_FOUND, "the room has no retention of its own")
        return _body(room, retention)

    @router.delete("", status_code=NO_CONTENT)
    async def remove_retention(room_id: RoomPath, request: Request, response: Response) -> None:
        """Keep messages and versions as in rooms without a retention of their own. Succeeds also if there is none."""
        caller = access.backend(request, response)
        room = parse_room(room_id)
        record = AuditRecord(action=Action.REMOVE_RETENTION, target=room, by=str(caller), outcome=Outcome.REQUESTED)
        async with within_deadline(deadline_seconds, ErrorCode.AUDIT_UNAVAILABLE):
            with audit.action("remove_retention", caller, room=room):
                await trail.write(record)
                await policies.remove(room)
                await trail.write(record.model_copy(update={"outcome": Outcome.DONE}))

    return router


def _body(room: RoomId, retention: Retention) -> RetentionBody:
    return RetentionBody(room_id=room, **retention.model_dump())
