"""Asks the documents service about whole documents and their versions, and stores updates that come over HTTP."""

import asyncio
import time
from uuid import uuid4

from studyroom.gateway.documents.metrics import DocumentMetrics
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, BusError, BusUnavailable, TooLong
from studyroom.shared.chassis.nats.questions import Questions
from studyroom.shared.chassis.tracing.spans import Tracer, begun
from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.document_requests import (
    Action,
    AnswerParts,
    DocumentAnswer,
    DocumentRequest,
    RequestOutcome,
)
from studyroom.shared.contract.documents import EMPTY_UPDATE
from studyroom.shared.contract.headers import AUTHOR, EXPECTED_SEQUENCE, LONG_EDIT
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.long_edits import PARTS_MAX, LongEdit

log = logs.get(__name__)

_PART_BYTES = 524_288
_MESSAGE_OVERHEAD_BYTES = 2048
"""More than the line of a request, or the headers of an update, takes."""


class DocumentRequests:
    """Bound all calls with a timeout."""

    def __init__(self, bus: Bus, metrics: DocumentMetrics, tracer: Tracer | None = None) -> None:
        self._bus = bus
        self._metrics = metrics
        self._tracer = tracer
        self._questions = Questions(bus, AnswerParts, of="documents service")

    @property
    def update_max_bytes(self) -> int:
        """The longest update that fits in a message."""
        return self._bus.max_payload_bytes - _MESSAGE_OVERHEAD_BYTES

    async def ask(self, request: DocumentRequest, update: bytes = b"") -> DocumentAnswer:
        """Return the answer, with any outcome but `unavailable`. Raises BusUnavailable or TooLong."""
        most = self.update_max_bytes
        if len(update) > most:
            raise TooLong(f"an edit of {len(update)} bytes is too large, the maximum is {most}")
        await self._questions.open()
        subject = document_subjects.documents_manage(subjects.shard_of(request.room))
        about = {"studyroom.room": request.room, "studyroom.action": request.action}
        with begun(self._tracer, "manage documents", about):
            answer = await self._questions.ask(subject, request.encode(update))
        if answer.head.outcome is RequestOutcome.UNAVAILABLE:
            raise BusUnavailable("the documents service cannot do it now")
        return answer

    async def store_parts(self, room: RoomId, name: DocumentName, update: bytes) -> LongEdit:
        """Store the parts of an update that is too long for a message. Then `store` it. Raises TooLong or BusError."""
        step = min(_PART_BYTES, self._bus.max_payload_bytes // 2)
        if len(update) > PARTS_MAX * step:
            raise TooLong(f"an edit of {len(update)} bytes is too large, the maximum is {PARTS_MAX * step}")
        edit = LongEdit(str(uuid4()), ())
        subject = document_subjects.document_edit(room, name, edit.id)
        try:
            for start in range(0, len(update), step):
                piece = update[start : start + step]
                stored = await self._bus.store(subject, piece, {}, timeout_seconds=API_TIMEOUT_SECONDS)
                edit = edit._replace(parts=(*edit.parts, stored.sequence))
        except BusError:
            if edit.parts:
                await self.discard(room, name, edit)
            raise
        return edit

    async def discard(self, room: RoomId, name: DocumentName, edit: LongEdit) -> None:
        """Have the parts of an update removed that was not stored. If that fails, the service does it later."""
        asked = DocumentRequest(action=Action.DISCARD, room=room, name=name, edit=edit.encode())
        try:
            async with asyncio.timeout(API_TIMEOUT_SECONDS):
                await self.ask(asked)
        except (BusError, TimeoutError) as error:
            log.info("the parts of an edit stay for a while", room=room, document=name, error=str(error))

    async def store(
        self,
        room: RoomId,
        name: DocumentName,
        update: bytes | LongEdit,
        author: UserId | None,
        *,
        expected: int | None = None,
    ) -> int:
        """Store an update, and return its sequence. `author`: None for a backend.

        `expected`: the sequence of the newest update; None for any. Raises Conflict if it is another one, or BusError.
        """
        headers: dict[str, str] = {AUTHOR: author} if author is not None else {}
        if expected is not None:
            headers[EXPECTED_SEQUENCE] = str(expected)
        if isinstance(update, LongEdit):
            headers[LONG_EDIT] = update.encode()
        payload = EMPTY_UPDATE if isinstance(update, LongEdit) else update
        subject, began = document_subjects.document(room, name), time.monotonic()
        stored = await self._bus.store(subject, payload, headers, timeout_seconds=API_TIMEOUT_SECONDS)
        self._metrics.stored += 1
        self._metrics.commit_seconds.observe(time.monotonic() - began)
        return stored.sequence
