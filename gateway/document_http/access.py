"""The rights to shared documents over HTTP, and the responses for the answers of the documents service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from fastapi import Path, Request, Response

from studyroom.gateway.auth.bans import Bans
from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.document_http.places import HTTP_TOO_MANY, Places
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
from studyroom.shared.contract.document_requests import Action, DocumentAnswer, DocumentRequest, RequestOutcome
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.long_edits import LongEdit

HTTP_FORBIDDEN, HTTP_CONFLICT, HTTP_PRECONDITION_FAILED, HTTP_TOO_LARGE = 403, 409, 412, 413
DocumentPath = Annotated[str, Path(json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,64}$"})]
"""A plain string, as `RoomPath`."""
RESPONSES: dict[int | str, dict[str, object]] = {**REFUSALS, HTTP_NOT_FOUND: {"model": ErrorBody}}
WRITE_RESPONSES: dict[int | str, dict[str, object]] = {
    **RESPONSES, **{status: {"model": ErrorBody} for status in (HTTP_CONFLICT, HTTP_INSUFFICIENT_STORAGE)}
}  # fmt: skip
LONG_RESPONSES: dict[int | str, dict[str, object]] = {
    **WRITE_RESPONSES, **{status: {"model": ErrorBody} for status in (HTTP_TOO_LARGE, HTTP_TOO_MANY)}
}  # fmt: skip
"""Responses to requests whose body may be long."""
CREATE_RESPONSES: dict[int | str, dict[str, object]] = {
    **LONG_RESPONSES, HTTP_PRECONDITION_FAILED: {"model": ErrorBody}
}  # fmt: skip
_REFUSALS = {
    RequestOutcome.EXISTS: (HTTP_PRECONDITION_FAILED, ErrorCode.DOCUMENT_EXISTS),
    RequestOutcome.DELETED: (HTTP_CONFLICT, ErrorCode.DOCUMENT_DELETED),
    RequestOutcome.MALFORMED: (HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST),
    RequestOutcome.NOT_FOUND: (HTTP_NOT_FOUND, ErrorCode.NOT_FOUND),
    RequestOutcome.TOO_COMPLEX: (HTTP_CONFLICT, ErrorCode.DOCUMENT_TOO_COMPLEX),
    RequestOutcome.DOCUMENT_FULL: (HTTP_CONFLICT, ErrorCode.DOCUMENT_FULL),
    RequestOutcome.TOO_MANY_DOCUMENTS: (HTTP_CONFLICT, ErrorCode.TOO_MANY_DOCUMENTS),
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
    long_bodies: Places

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

    def place_for(self, request: Request) -> AbstractContextManager[None]:
        """Bound the long bodies that the gateway has in memory. Raises HttpRefusal if there are too many now."""
        length = request.headers.get("content-length", "")
        is_short = length.isdecimal() and int(length) <= self.requests.update_max_bytes
        return nullcontext() if is_short else self.long_bodies.take()

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

    async def in_parts(self, caller: Caller, name: DocumentName, update: bytes) -> LongEdit | None:
        """Store the parts of an update if it is too long for a message; None if it is not. Raises HttpRefusal."""
        if len(update) <= self.requests.update_max_bytes:
            return None
        async with self._storing():
            return await self.requests.store_parts(caller.room, name, update)

    async def store(
        self, caller: Caller, name: DocumentName, update: bytes | LongEdit, *, expected: int | None = None
    ) -> int:
        """Store an update. `expected`: see `DocumentRequests.store`. Raises Conflict or HttpRefusal."""
        async with self._storing():
            return await self.requests.store(caller.room, name, update, caller.user, expected=expected)

    async def store_checked(self, action: Action, caller: Caller, name: DocumentName, update: bytes) -> None:
        """Store an update if the documents service allows it: `create` or `write`. Raises Conflict or HttpRefusal."""
        edit = await self.in_parts(caller, name, update)
        named = edit.encode() if edit is not None else ""
        asked = DocumentRequest(action=action, room=caller.room, name=name, edit=named)
        try:
            newest = (await self.ask(asked, update if edit is None else b"")).head.sequence
            expected = newest if action is Action.CREATE else None
            await self.store(caller, name, update if edit is None else edit, expected=expected)
        except (Conflict, HttpRefusal) as error:
            is_known = isinstance(error, Conflict) or error.status != HTTP_UNAVAILABLE
            if edit is not None and is_known:
                await self.requests.discard(caller.room, name, edit)
            raise

    @asynccontextmanager
    async def _storing(self) -> AsyncIterator[None]:
        async with self.within_deadline():
            try:
                yield
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
