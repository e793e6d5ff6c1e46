"""The export of a room: its chat and its shared documents as one ZIP file (`/api/v1/rooms/{room_id}/export`)."""

import asyncio
import json
import time
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, cast

from fastapi import APIRouter, Request, Response

from studyroom.gateway.document_http.access import DocumentAccess
from studyroom.gateway.document_http.archives import ZIP_BODY, Exports, Pieces, Unreadable
from studyroom.gateway.document_http.places import HTTP_TOO_MANY
from studyroom.gateway.document_http.requests import DocumentRequests
from studyroom.gateway.http.access import BY_KEY, BY_TOKEN, REFUSALS, ErrorBody, RoomPath, parse_room
from studyroom.gateway.http.audit import Audit, Trail, recorded_name
from studyroom.gateway.living_chat.stored_changes import StoredChanges
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.contract.audit import Action as RecordedAction
from studyroom.shared.contract.audit import AuditRecord, Outcome
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.document_requests import (
    Action,
    DocumentAnswer,
    DocumentRequest,
    DocumentsPage,
    Format,
    RequestOutcome,
    VersionsList,
)
from studyroom.shared.contract.ids import RoomId

log = logs.get(__name__)

_CHAT_PAGE = 200
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.5
_FILES = {Format.UPDATE: "yjs", Format.JSON: "json", Format.TEXT: "txt"}


@dataclass(frozen=True, slots=True)
class _Room:
    """Reads a room."""

    room: RoomId
    chat: StoredChanges
    documents: DocumentRequests
    deadline_seconds: float

    async def chat_lines(self) -> AsyncIterator[bytes]:
        """Messages as JSON, one a line, the newest first. Raises Unreadable."""
        before: int | None = None
        while True:
            try:
                async with asyncio.timeout(self.deadline_seconds):
                    page = await self.chat.page(self.room, _CHAT_PAGE, before=before)
            except (BusError, TimeoutError) as error:
                raise Unreadable(f"chat: {error}") from error
            for stored in reversed(page.messages):
                yield json.dumps(json.loads(stored.ready)["payload"], ensure_ascii=False).encode() + b"\n"
            if page.before is None:
                return
            before = page.before

    async def names(self) -> AsyncIterator[DocumentName]:
        after: str | None = ""
        while after is not None:
            page = DocumentsPage.model_validate_json((await self.ask(Action.LIST, after=after)).body)
            for document in page.documents:
                yield document.name
            after = page.next

    async def document(self, name: DocumentName) -> AsyncIterator[tuple[str, bytes]]:
        """Files of a document and of its versions. A document that cannot be converted has no file of that format."""
        for form, ending in _FILES.items():
            answer = await self.ask(Action.READ, name=name, format=form)
            if answer.head.outcome is RequestOutcome.OK:
                yield f"documents/{name}.{ending}", answer.body
        listed = await self.ask(Action.LIST_VERSIONS, name=name)
        versions = VersionsList.model_validate_json(listed.body).versions
        if versions:
            yield f"versions/{name}.json", listed.body
        for version in versions:
            answer = await self.ask(Action.READ_VERSION, name=name, version=version.id)
            if answer.head.outcome is RequestOutcome.OK:
                yield f"versions/{name}/{version.id}.yjs", answer.body

    async def ask(self, action: Action, **fields: object) -> DocumentAnswer:
        """Raises Unreadable."""
        request = DocumentRequest.model_validate({"action": action, "room": self.room, **fields})
        for attempt in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(self.deadline_seconds):
                    return await self.documents.ask(request)
            except (BusError, TimeoutError) as error:
                log.info("an export asks again", action=action, error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS * (attempt + 1))
        raise Unreadable(f"the documents service does not answer ({action})")


async def _zip(room: _Room) -> AsyncIterator[bytes]:
    """Raises Unreadable."""
    written = Pieces()
    with zipfile.ZipFile(cast("IO[bytes]", written), "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("chat.jsonl", "w", force_zip64=True) as member:
            async for line in room.chat_lines():
                member.write(line)
                yield written.take()
        async for name in room.names():
            async for path, body in room.document(name):
                # Compression of much data takes long, and lets other threads run.
                await asyncio.to_thread(file.writestr, path, body)
                yield written.take()
        about = {"room_id": room.room, "exported_at": int(time.time())}
        file.writestr("room.json", json.dumps(about))
    yield written.take()


def export_router(documents: DocumentAccess, audit: Audit, chat: StoredChanges, trail: Trail) -> APIRouter:
    router = APIRouter(prefix="/api/v1/rooms", tags=["documents"], dependencies=[BY_TOKEN, BY_KEY])
    exports = Exports()

    @router.get(
        "/{room_id}/export",
        response_class=Response,
        responses={**REFUSALS, HTTP_TOO_MANY: {"model": ErrorBody}, 200: ZIP_BODY},
    )
    async def export(room_id: RoomPath, request: Request, response: Response) -> Response:
        """Get the chat and the shared documents of a room as a ZIP file, for a backend or a moderator."""
        caller = documents.access.caller(request, response)
        room = parse_room(room_id)
        with audit.action("export", caller, room=room):
            documents.access.check_moderates(caller, room)
            with exports.begin() as place:
                await documents.ask(DocumentRequest(action=Action.LIST, room=room, limit=1))  # is it there?
                source = _Room(room, chat, documents.requests, documents.deadline_seconds)
                record = AuditRecord(
                    action=RecordedAction.EXPORT_ROOM, target=room, by=recorded_name(caller), outcome=Outcome.REQUESTED
                )
                async with documents.within_deadline():
                    await trail.write(record)
                return exports.response(request, _zip(source), f"room-{room}.zip", place, trail, record)

    return router
