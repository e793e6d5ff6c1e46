"""Shared documents over HTTP (`/api/v1/rooms/{room_id}/documents`): list, read, create, write and delete."""

from typing import Annotated

import pycrdt
from fastapi import APIRouter, Header, Query, Request, Response

from studyroom.gateway.document_http.access import (
    CREATE_RESPONSES,
    HTTP_PRECONDITION_FAILED,
    LONG_RESPONSES,
    RESPONSES,
    WRITE_RESPONSES,
    Caller,
    DocumentAccess,
    DocumentPath,
    parse_name,
)
from studyroom.gateway.document_http.formats import CONTENTS, UPDATE_BODY, FormatQuery, contents, wanted
from studyroom.gateway.documents.updates import check_update
from studyroom.gateway.http.access import BY_KEY, BY_TOKEN, HTTP_BAD_REQUEST, HttpRefusal, RoomPath, parse_room
from studyroom.gateway.http.audit import Audit
from studyroom.shared.chassis.nats.bus import Conflict
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.document_requests import PAGE_MAX, Action, DocumentRequest, DocumentsPage
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.lib0 import Malformed

_CREATED, _NO_CONTENT = 201, 204
_ATTEMPTS = 3
"""How often to create a document while an editor of a deleted one with its name still sends something."""
_ROOT_MAX_CHARS = 64


def documents_router(documents: DocumentAccess, audit: Audit) -> APIRouter:
    router = APIRouter(prefix="/api/v1/rooms/{room_id}/documents", tags=["documents"])
    both = [BY_TOKEN, BY_KEY]

    @router.get("", responses=RESPONSES, dependencies=both)
    async def list_documents(
        room_id: RoomPath,
        request: Request,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_MAX,
        after: Annotated[str, Query(max_length=64)] = "",
    ) -> DocumentsPage:
        """List the documents of a room in the order of their names."""
        caller = documents.reader(room_id, request, response)
        asked = DocumentRequest(action=Action.LIST, room=caller.room, limit=limit, after=after)
        return DocumentsPage.model_validate_json((await documents.ask(asked)).body)

    @router.get("/{name}", response_class=Response, responses={**WRITE_RESPONSES, **CONTENTS}, dependencies=both)
    async def read_document(
        room_id: RoomPath, name: DocumentPath, request: Request, response: Response, form: FormatQuery = None
    ) -> Response:
        """Read a document: as one Yjs update, as JSON or as plain text."""
        caller = documents.reader(room_id, request, response)
        form = wanted(request, form)
        asked = DocumentRequest(action=Action.READ, room=caller.room, name=parse_name(name), format=form)
        return contents(await documents.ask(asked), form)

    @router.put(
        "/{name}",
        status_code=_CREATED,
        response_class=Response,
        responses=CREATE_RESPONSES,
        openapi_extra=UPDATE_BODY,
        dependencies=both,
    )
    async def create_document(
        room_id: RoomPath,
        name: DocumentPath,
        request: Request,
        response: Response,
        if_none_match: Annotated[str | None, Header(description="`*`")] = None,
        root: Annotated[
            str,
            Query(
                max_length=_ROOT_MAX_CHARS,
                description="With a body of `text/plain`: the name of the root type that gets the text.",
            ),
        ] = "",
    ) -> Response:
        """Create a document with its first contents, unless somebody has written in it.

        The body is the whole document as one Yjs update, or plain text for a root type of the kind `Y.Text`. Of
        several requests, one succeeds.
        """
        caller = documents.writer(room_id, request, response)
        document = parse_name(name)
        if if_none_match != "*":
            reason = "If-None-Match: send *, because a document is created and never replaced"
            raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, reason)
        is_text = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/plain"
        with documents.place_for(request):
            body = await request.body()
            update = _update_of_text(body, root) if is_text else _checked(documents, body)
            await _create(documents, caller, document, update)
        return Response(status_code=_CREATED, headers={"Cache-Control": "no-store"})

    @router.post(
        "/{name}",
        status_code=_NO_CONTENT,
        responses=LONG_RESPONSES,
        openapi_extra=UPDATE_BODY,
        dependencies=[BY_KEY],
    )
    async def write_document(room_id: RoomPath, name: DocumentPath, request: Request, response: Response) -> None:
        """Store a Yjs update in a document, for a trusted backend. Editors get it like any edit."""
        backend = documents.access.backend(request, response)
        caller, document = Caller(parse_room(room_id), backend), parse_name(name)
        with documents.place_for(request):
            update = _checked(documents, await request.body())
            with audit.action("write_document", backend, room=caller.room, document=document):
                await documents.store_checked(Action.WRITE, caller, document, update)

    @router.delete("/{name}", status_code=_NO_CONTENT, responses=RESPONSES, dependencies=both)
    async def delete_document(room_id: RoomPath, name: DocumentPath, request: Request, response: Response) -> None:
        """Delete a document with its versions, for a backend or a moderator. Succeeds also if it is gone already.

        Editors that have it open are closed. A new document may have the same name, and gets nothing of the old one.
        """
        caller = Caller(parse_room(room_id), documents.access.caller(request, response))
        document = parse_name(name)
        with audit.action("delete_document", caller.who, room=caller.room, document=document):
            documents.access.check_moderates(caller.who, caller.room)
            documents.check_origin(request)
            await documents.ask(DocumentRequest(action=Action.DELETE, room=caller.room, name=document))

    return router


async def _create(documents: DocumentAccess, caller: Caller, document: DocumentName, update: bytes) -> None:
    """Raises HttpRefusal."""
    for _ in range(_ATTEMPTS):
        try:
            await documents.store_checked(Action.CREATE, caller, document, update)
        except Conflict:
            continue
        return
    raise HttpRefusal(HTTP_PRECONDITION_FAILED, ErrorCode.DOCUMENT_EXISTS, "somebody is writing in the document")


def _checked(documents: DocumentAccess, body: bytes) -> bytes:
    """Raises HttpRefusal for a body that is not a Yjs update. The documents service checks long ones."""
    if len(body) > documents.requests.update_max_bytes:
        return body
    try:
        check_update(body)
    except Malformed as error:
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, f"body: {error}") from error
    return body


def _update_of_text(body: bytes, root: str) -> bytes:
    """Raises HttpRefusal."""
    if not root:
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, "root: name the root type for the text")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, "body: the text is not UTF-8") from error
    return pycrdt.Doc({root: pycrdt.Text(text)}).get_update()
