"""Asks the documents service about whole documents and their versions, and stores updates that come over HTTP."""

import time

from studyroom.gateway.documents.metrics import DocumentMetrics
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, BusUnavailable, TooLong
from studyroom.shared.chassis.nats.questions import Questions
from studyroom.shared.contract import subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.document_requests import AnswerParts, DocumentAnswer, DocumentRequest, RequestOutcome
from studyroom.shared.contract.headers import AUTHOR, EXPECTED_SEQUENCE
from studyroom.shared.contract.ids import RoomId, UserId

_MESSAGE_OVERHEAD_BYTES = 2048
"""More than the line of a request, or the headers of an update, takes."""


class DocumentRequests:
    """Bound all calls with a timeout."""

    def __init__(self, bus: Bus, metrics: DocumentMetrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self._questions = Questions(bus, AnswerParts, of="documents service")

    async def ask(self, request: DocumentRequest, update: bytes = b"") -> DocumentAnswer:
        """Return the answer, with any outcome but `unavailable`. Raises BusUnavailable or TooLong."""
        most = self._bus.max_payload_bytes - _MESSAGE_OVERHEAD_BYTES
        if len(update) > most:
            raise TooLong(f"an edit of {len(update)} bytes is too large, the maximum is {most}")
        await self._questions.open()
        subject = subjects.documents_manage(subjects.shard_of(request.room))
        answer = await self._questions.ask(subject, request.encode(update))
        if answer.head.outcome is RequestOutcome.UNAVAILABLE:
            raise BusUnavailable("the documents service cannot do it now")
        return answer

    async def store(
        self, room: RoomId, name: DocumentName, update: bytes, author: UserId | None, *, expected: int | None = None
    ) -> int:
        """Store an update, and return its sequence. `author`: None for a backend.

        `expected`: the sequence of the newest update; None for any. Raises Conflict if it is another one, or BusError.
        """
        headers: dict[str, str] = {AUTHOR: author} if author is not None else {}
        if expected is not None:
            headers[EXPECTED_SEQUENCE] = str(expected)
        subject, began = subjects.document(room, name), time.monotonic()
        stored = await self._bus.store(subject, update, headers, timeout_seconds=API_TIMEOUT_SECONDS)
        self._metrics.stored += 1
        self._metrics.commit_seconds.observe(time.monotonic() - began)
        return stored.sequence
