"""The rights to shared documents over HTTP, and the responses for the answers of the documents service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from fastapi import Path, Request, Response

from studyroom.gateway.auth.bans import Bans
from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.document_http.requests import DocumentRequests
from studyroom.gateway.documents.connection import may_write
from studyroom.gateway.http.access import (
    HTTP_BAD_REQUEST,
    HTTP_INSUFFICIENT_STORAGE,
    HTTP_NOT_FOUND,
    HTTP_UNAVAILABLE,
    REFUSALS,
    Access,
    Backend,
    ErrorBody,
    HttpRefusal,
    parse_room,
    refusal_of,
)
from studyroom.gateway.http.app import Gate
from studyroom.gateway.wire.handshake import Refused
from studyroom.gateway.wire.header_fields import combined
from studyroom.shared.chassis.nats.bus import BusError, Conflict, StorageFull, TooLong
from studyroom.shared.contract.document_names import DocumentName, document_name
from studyroom.shared.contract.document_requests import DocumentAnswer, DocumentRequest, RequestOutcome
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId, UserId

HTTP_FORBIDDEN, HTTP_CONFLICT, HTTP_PRECONDITION_FAILED, HTTP_TOO_LARGE = 403, 409, 412, 413
DocumentPath = Annotated[str, Path(json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,64}$"})]
"""A plain string, as `RoomPath`."""
RESPONSES: dict[int | str, dict[str, object]] = {**REFUSALS, HTTP_NOT_FOUND: {"model": ErrorBody}}
WRITE_RESPONSES: dict[int | str, dict[str, object]] = {
    **RESPONSES, **{status: {"model": ErrorBody} for status in (HTTP_CONFLICT, HTTP_INSUFFICIENT_STORAGE)}
}  # fmt: skip
CREATE_RESPONSES: dict[int | str, dict[str, object]] = {
    **WRITE_RESPONSES, HTTP_PRECONDITION_FAILED: {"model": ErrorBody}
}  # fmt: skip
_REFUSALS = {
    RequestOutcome.EXISTS: (HTTP_PRECONDITION_FAILED, ErrorCode.DOCUMENT_EXISTS),
    RequestOutcome.DELETED: (HTTP_CONFLICT, ErrorCode.DOCUMENT_DELETED),
    RequestOutcome.MALFORMED: (HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST),
    RequestOutcome.NOT_FOUND: (HTTP_NOT_FOUND, ErrorCode.NOT_FOUND),
    RequestOutcome.TOO_COMPLEX: (HTTP_CONFLICT, ErrorCode.DOCUMENT_TOO_COMPLEX),
    RequestOutcome.DOCUMENT_FULL: (HTTP_CONFLICT, ErrorCode.DOCUMENT_FULL),
    RequestOutcome.VERSIONS_FULL: (HTTP_CONFLICT, ErrorCode.VERSIONS_FULL),
    RequestOutcome.STORAGE_FULL: (HTTP_INSUFFICIENT_STORAGE, ErrorCode.DOCUMENTS_STORAGE_FULL),
}


class Caller(NamedTuple):
    room: RoomId
    who: Backend | Identity

    @property
    def name(self) -> str:
        return self.who.key if isinstance(self.who, Backend) else self.who.username

    @property
    def user(self) -> UserId | None:
        return None if isinstance(self.who, Backend) else self.who.user


@dataclass(frozen=True, slots=True)
class DocumentAccess:
    access: Access
    bans: Bans
    gate: Gate
    requests: DocumentRequests
    deadline_seconds: float

    def reader(self, room_id: str, request: Request, response: Response) -> Caller:
        """A backend, or a user who may read the documents of the room. Raises HttpRefusal for anyone else."""
        caller, _ = self._caller(room_id, request, response)
        return caller

    def writer(self, room_id: str, request: Request, response: Response) -> Caller:
        """A backend, or a user who may write there. Raises HttpRefusal for anyone else."""
        caller, writes = self._caller(room_id, request, response)
        if not writes:
            reason = "the access token allows reading the documents of this room, and not writing"
            raise HttpRefusal(HTTP_FORBIDDEN, ErrorCode.DOCUMENT_NOT_ALLOWED, reason)
        self.check_origin(request)
        return caller

    def check_origin(self, request: Request) -> None:
        """Browsers send cookies with requests of any page. Raises HttpRefusal for pages that may not connect."""
        if not self.gate.allows_origin(combined(request.headers.items())):
            raise HttpRefusal(HTTP_FORBIDDEN, ErrorCode.ORIGIN_NOT_ALLOWED, "pages of this origin may not write")

    def _caller(self, room_id: str, request: Request, response: Response) -> tuple[Caller, bool]:
        who = self.access.caller(request, response)
        room = parse_room(room_id)
        if isinstance(who, Backend):
            return Caller(room, who), True
        right = may_write(who, room, self.bans)
        if isinstance(right, Refused):
            raise refusal_of(right)
        return Caller(room, who), right

    async def ask(self, request: DocumentRequest, update: bytes = b"") -> DocumentAnswer:
        """Return the answer if the service has done it. `update`: what the request is about. Raises HttpRefusal."""
        async with self.within_deadline():
            try:
                answer = await self.requests.ask(request, update)
            except TooLong as error:
                raise HttpRefusal(HTTP_TOO_LARGE, ErrorCode.DOCUMENT_TOO_LARGE, str(error)) from error
        _check(answer)
        return answer

    async def store(self, caller: Caller, name: DocumentName, update: bytes, *, expected: int | None = None) -> int:
        """Store an update. `expected`: see `DocumentRequests.store`. Raises Conflict or HttpRefusal."""
        async with self.within_deadline():
            try:
                return await self.requests.store(caller.room, name, update, caller.user, expected=expected)
            except TooLong as error:
                raise HttpRefusal(HTTP_TOO_LARGE, ErrorCode.DOCUMENT_TOO_LARGE, str(error)) from error
            except StorageFull as error:
                reason = "the store of documents is full"
                raise HttpRefusal(HTTP_INSUFFICIENT_STORAGE, ErrorCode.DOCUMENTS_STORAGE_FULL, reason) from error

    @asynccontextmanager
    async def within_deadline(self) -> AsyncIterator[None]:
        """Raises HttpRefusal if NATS or the documents service does not answer in time. Then the outcome is unknown."""
        try:
            async with asyncio.timeout(self.deadline_seconds):
                yield
        except Conflict:
            raise
        except (BusError, TimeoutError) as error:
            reason = "documents are not available now, and the request may be carried out or not: send it again"
            raise HttpRefusal(HTTP_UNAVAILABLE, ErrorCode.DOCUMENTS_UNAVAILABLE, reason, Retry_After="1") from error


def _check(answer: DocumentAnswer) -> None:
    """Raises HttpRefusal unless the service has done what it was asked for."""
    outcome = answer.head.outcome
    if outcome is RequestOutcome.OK:
        return
    if outcome not in _REFUSALS:  # this gateway and the service are of different releases
        raise HttpRefusal(HTTP_UNAVAILABLE, ErrorCode.DOCUMENTS_UNAVAILABLE, outcome, Retry_After="1")
    status, code = _REFUSALS[outcome]
    raise HttpRefusal(status, code, answer.head.reason)


def parse_name(text: str) -> DocumentName:
    """Raises HttpRefusal."""
    try:
        return document_name(text)
    except ValueError as error:
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, f"name: {error}") from error
