"""ZIP files that are written while they are sent, so that their size needs no memory.

If something cannot be read, the gateway ends the socket, so that nobody takes half a file for a whole one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from functools import partial

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from studyroom.gateway.document_http.places import Places
from studyroom.gateway.http.audit import Trail
from studyroom.gateway.wire.upgrade import ABORT
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.contract.audit import AuditRecord, Outcome

log = logs.get(__name__)

ZIP_BODY = {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
_AT_ONCE_MAX = 2
"""Exports of one kind that a gateway sends at a time."""


class Unreadable(Exception):
    """Something that belongs into the file cannot be read now."""


class Pieces:
    """Keeps what the ZIP file has written until it is sent. It cannot seek, so the file is written in order."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class _Export(StreamingResponse):
    """Gives its place to another export in the end, also if the client has gone before the first byte."""

    def __init__(self, file: AsyncIterator[bytes], place: ExitStack, headers: dict[str, str]) -> None:
        super().__init__(file, media_type="application/zip", headers=headers)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)


class Exports:
    """The exports of one kind that this gateway sends."""

    def __init__(self) -> None:
        self._places = Places(_AT_ONCE_MAX, "exports")

    def begin(self) -> ExitStack:
        """Have a place until the block ends, or until the response has ended if there is one.

        Raises HttpRefusal if all places are taken.
        """
        place = ExitStack()
        place.enter_context(self._places.take())
        return place

    def response(
        self,
        request: Request,
        file: AsyncIterator[bytes],
        filename: str,
        place: ExitStack,
        trail: Trail,
        record: AuditRecord,
    ) -> StreamingResponse:
        """Respond with the pieces of a ZIP file, and record that all of it was sent. `file` raises Unreadable.

        The response takes over the place. `record`: what was recorded of the request.
        """
        done = record.model_copy(update={"outcome": Outcome.DONE})
        headers = {"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"}
        sent = _sent(request, file, partial(trail.write, done))
        return _Export(sent, place.pop_all(), headers)


async def _sent(
    request: Request, file: AsyncIterator[bytes], finished: Callable[[], Awaitable[None]]
) -> AsyncIterator[bytes]:
    try:
        async for piece in file:
            if piece:
                yield piece
        await finished()
    except (Unreadable, BusError) as error:
        log.warning("an export could not be completed", error=str(error))
        request.scope["extensions"][ABORT]()
