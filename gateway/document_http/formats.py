"""The formats in which a response has the contents of a document."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from studyroom.shared.contract.document_requests import DocumentAnswer, Format

MEDIA_TYPES = {
    Format.UPDATE: "application/octet-stream",
    Format.JSON: "application/json",
    Format.TEXT: "text/plain; charset=utf-8",
}
FormatQuery = Annotated[Format | None, Query(alias="format", description="By default what `Accept` asks for.")]
CONTENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The contents: by default one Yjs update (version 1).",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"type": "object"}},
            "text/plain": {"schema": {"type": "string"}},
        },
    }
}
UPDATE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""A Yjs update (version 1)."""


def wanted(request: Request, form: Format | None) -> Format:
    """The format in the query, or the first one in `Accept` that there is, or an update."""
    if form is not None:
        return form
    by_type = {media_type.partition(";")[0]: one for one, media_type in MEDIA_TYPES.items()}
    accepted = (one.partition(";")[0].strip().lower() for one in request.headers.get("accept", "").split(","))
    return next((by_type[one] for one in accepted if one in by_type), Format.UPDATE)


def contents(answer: DocumentAnswer, form: Format) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Vary": "Accept"}
    return Response(answer.body, media_type=MEDIA_TYPES[form], headers=headers)
