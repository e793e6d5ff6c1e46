"""Versions of shared documents over HTTP (`/api/v1/rooms/{room_id}/documents/{name}/versions`)."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from studyroom.gateway.document_http.access import (
    HTTP_TOO_LARGE,
    RESPONSES,
    WRITE_RESPONSES,
    Caller,
    DocumentAccess,
    DocumentPath,
    parse_name,
)
from studyroom.gateway.document_http.formats import CONTENTS, FormatQuery, contents, wanted
from studyroom.gateway.http.access import BY_KEY, BY_TOKEN, HTTP_BAD_REQUEST, ErrorBody, HttpRefusal, RoomPath
from studyroom.gateway.http.audit import Audit
from studyroom.shared.contract.document_requests import (
    Action,
    DocumentRequest,
    NewVersion,
    VersionsList,
    VersionSummary,
)
from studyroom.shared.contract.documents import EMPTY_UPDATE
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import canonical_uuid
from studyroom.shared.contract.text import is_blank

_CREATED, _NO_CONTENT = 201, 204
VersionPath = Annotated[str, Path(json_schema_extra={"format": "uuid"})]


def versions_router(documents: DocumentAccess, audit: Audit) -> APIRouter:
    router = APIRouter(
        prefix="/api/v1/rooms/{room_id}/documents/{name}/versions",
        tags=["documents"],
        dependencies=[BY_TOKEN, BY_KEY],
    )

    @router.get("", responses=RESPONSES)
    async def versions(room_id: RoomPath, name: DocumentPath, request: Request, response: Response) -> VersionsList:
        """List the versions of a document, the oldest first."""
        caller = documents.reader(room_id, request, response)
        answer = await documents.ask(_request(caller, Action.LIST_VERSIONS, name))
        return VersionsList.model_validate_json(answer.body)

    @router.post("", status_code=_CREATED, responses=WRITE_RESPONSES)
    async def make_version(
        room_id: RoomPath, name: DocumentPath, version: NewVersion, request: Request, response: Response
    ) -> VersionSummary:
        """Keep the document as it is now, under a name."""
        caller = documents.writer(room_id, request, response)
        if is_blank(version.name):
            raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, "name: needs a visible character")
        asked = _request(caller, Action.MAKE_VERSION, name).model_copy(update={"title": version.name})
        return VersionSummary.model_validate_json((await documents.ask(asked)).body)

    @router.get("/{version_id}", response_class=Response, responses={**WRITE_RESPONSES, **CONTENTS})
    async def read_version(
        room_id: RoomPath,
        name: DocumentPath,
        version_id: VersionPath,
        request: Request,
        response: Response,
        form: FormatQuery = None,
    ) -> Response:
        """Read a version, as you read a document."""
        caller = documents.reader(room_id, request, response)
        form = wanted(request, form)
        asked = _request(caller, Action.READ_VERSION, name, version_id).model_copy(update={"format": form})
        return contents(await documents.ask(asked), form)

    @router.delete("/{version_id}", status_code=_NO_CONTENT, responses=RESPONSES)
    async def delete_version(
        room_id: RoomPath, name: DocumentPath, version_id: VersionPath, request: Request, response: Response
    ) -> None:
        """Delete a version. The document stays as it is."""
        caller = documents.writer(room_id, request, response)
        with audit.action("delete_version", caller.who, room=caller.room, document=name, version=version_id):
            await documents.ask(_request(caller, Action.DELETE_VERSION, name, version_id))

    @router.post(
        "/{version_id}/restore",
        status_code=_NO_CONTENT,
        responses={**WRITE_RESPONSES, HTTP_TOO_LARGE: {"model": ErrorBody}},
    )
    async def restore(
        room_id: RoomPath, name: DocumentPath, version_id: VersionPath, request: Request, response: Response
    ) -> None:
        """Give the document the contents of a version, by an edit. Everyone who has it open gets that edit.

        Edits that others make at the same moment are merged with it.
        """
        caller = documents.writer(room_id, request, response)
        with audit.action("restore_version", caller.who, room=caller.room, document=name, version=version_id):
            asked = _request(caller, Action.RESTORE, name, version_id)
            update = (await documents.ask(asked)).body
            if update != EMPTY_UPDATE:
                edit = await documents.in_parts(caller, asked.name, update)
                await documents.store(caller, asked.name, update if edit is None else edit)

    return router


def _request(caller: Caller, action: Action, name: str, version: str | None = None) -> DocumentRequest:
    """Raises HttpRefusal."""
    try:
        canonical = canonical_uuid(version) if version is not None else None
    except ValueError as error:
        raise HttpRefusal(HTTP_BAD_REQUEST, ErrorCode.INVALID_REQUEST, f"version_id: {error}") from error
    return DocumentRequest(
        action=action,
        room=caller.room,
        name=parse_name(name),
        version=canonical,
        author=caller.name,
        author_id=caller.user,
    )
