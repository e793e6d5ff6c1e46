"""Asks the documents service about whole documents and their versions, and stores updates that come over HTTP."""

import asyncio
import time
from dataclasses import dataclass, field

from studyroom.gateway.documents.metrics import DocumentMetrics
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, BusUnavailable, Message, TooLong
from studyroom.shared.chassis.nats.reply_inbox import ReplyInbox
from studyroom.shared.contract import subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.document_requests import AnswerParts, DocumentAnswer, DocumentRequest, RequestOutcome
from studyroom.shared.contract.documents import MalformedSync
from studyroom.shared.contract.headers import AUTHOR, EXPECTED_SEQUENCE, INGRESS, MESSAGE_ID, STATUS
from studyroom.shared.contract.ids import RoomId, UserId, new_message_id

_MESSAGE_OVERHEAD_BYTES = 2048
"""More than the line of a request, or the headers of an update, takes."""


@dataclass(slots=True)
class _Question:
    answer: "asyncio.Future[DocumentAnswer]"
    parts: AnswerParts = field(default_factory=AnswerParts)


class DocumentRequests:
    """Bound all calls with a timeout."""

    def __init__(self, bus: Bus, metrics: DocumentMetrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self._answers = ReplyInbox[_Question](_take_part)
        self._opening = asyncio.Lock()

    async def ask(self, request: DocumentRequest, update: bytes = b"") -> DocumentAnswer:
        """Return the answer, with any outcome but `unavailable`. Raises BusUnavailable or TooLong."""
        most = self._bus.max_payload_bytes - _MESSAGE_OVERHEAD_BYTES
        if len(update) > most:
            raise TooLong(f"an edit of {len(update)} bytes is too large, the maximum is {most}")
        await self._open()
        question = _Question(asyncio.get_running_loop().create_future())
        reply = self._answers.expect(question)
        try:
            self._bus.publish(
                subjects.documents_manage(subjects.shard_of(request.room)),
                request.encode(update),
                reply=reply,
                failed=lambda: _fail(question, "not connected to NATS"),
            )
            answer = await question.answer
        finally:
            self._answers.close(reply)
        if answer.head.outcome is RequestOutcome.UNAVAILABLE:
            raise BusUnavailable("the documents service cannot do it now")
        return answer

    async def _open(self) -> None:
        """Open the inbox when it is needed for the first time."""
        async with self._opening:
            if not self._answers.is_open:
                await self._bus.open_inbox(self._answers)

    async def store(
        self, room: RoomId, name: DocumentName, update: bytes, author: UserId | None, *, expected: int | None = None
    ) -> int:
        """Store an update, and return its sequence. `author`: None for a backend.

        `expected`: the sequence of the newest update; None for any. Raises Conflict if it is another one, or BusError.
        """
        headers = {
            MESSAGE_ID: subjects.document_deduplication_id(room, name, new_message_id()),
            INGRESS: str(time.time_ns() // 1000),
        }
        if author is not None:
            headers[AUTHOR] = author
        if expected is not None:
            headers[EXPECTED_SEQUENCE] = str(expected)
        subject, began = subjects.document(room, name), time.monotonic()
        stored = await self._bus.store(subject, update, headers, timeout_seconds=API_TIMEOUT_SECONDS)
        self._metrics.stored += 1
        self._metrics.commit_seconds.observe(time.monotonic() - began)
        return stored.sequence


def _take_part(question: _Question, message: Message) -> None:
    if STATUS in (message.headers or {}):
        _fail(question, "there is no documents service")
        return
    try:
        answer = question.parts.add(message.data)
    except MalformedSync as error:
        _fail(question, str(error))
        return
    if answer is not None and not question.answer.done():
        question.answer.set_result(answer)


def _fail(question: _Question, why: str) -> None:
    if not question.answer.done():
        question.answer.set_exception(BusUnavailable(why))
