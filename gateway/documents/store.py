"""Publishes updates of documents into their stream, and asks the documents service what documents have.

The first update makes a document. So before that one, the documents service is asked whether the room may have another.
If it does not answer, the update is stored, because people go on editing without the service.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from studyroom.gateway.documents.metrics import DocumentMetrics
from studyroom.gateway.documents.updates import Wholes, merged
from studyroom.gateway.rooms.flush_scheduler import Collection, FlushScheduler
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.bulkheads import Bulkheads
from studyroom.shared.chassis.nats.bus import (
    Bus,
    BusError,
    BusUnavailable,
    Message,
    parse_acknowledgement,
)
from studyroom.shared.chassis.nats.questions import Questions
from studyroom.shared.chassis.nats.reply_inbox import Acknowledgements
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.chassis.tracing.spans import Tracer, begun
from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.documents import EMPTY_VECTOR, Outcome, SyncParts, SyncReply, SyncRequest
from studyroom.shared.contract.headers import AUTHOR
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.lib0 import Malformed

log = logs.get(__name__)

_SYNC_SECONDS = 5.0
_QUESTIONS_OF_A_SHARD, _QUESTIONS = 1, 32
"""How many questions the documents service has at once: of each shard, and further ones of all shards together."""
_MESSAGE_OVERHEAD_BYTES = 512
"""More than the headers of an update take."""
_STRETCH = 4.0
"""How many times longer than a room a document collects edits before it publishes again (see `Collection.stretch`)."""
_BEGIN_SECONDS = 1.0
"""How long the first update waits for the documents service."""
_WAITING_MAX_BYTES = 1_048_576
"""If so much waits for the documents service, further edits fail, and their editors are asked again."""

_WHOLE_LEAST_BYTES, _WHOLES_MAX_BYTES = 4096, 16_777_216
"""Documents of at least this length are kept to be sent again, as many as fit."""


class Publication(Protocol):
    """Receives the outcome of one update: one of these calls."""

    def stored(self, sequence: int) -> None:
        """The stream has the update."""

    def failed(self) -> None:
        """The stream does not have the update, or the outcome is unknown."""


@dataclass(frozen=True, slots=True)
class Together:
    """Several updates that are published as one."""

    publications: Sequence[Publication]

    def stored(self, sequence: int) -> None:
        for publication in self.publications:
            publication.stored(sequence)

    def failed(self) -> None:
        for publication in self.publications:
            publication.failed()


@dataclass(frozen=True, slots=True)
class _Pending:
    published: float
    """Monotonic seconds."""
    publication: Publication


class DocumentStore:
    def __init__(
        self,
        bus: Bus,
        tasks: Tasks,
        metrics: DocumentMetrics,
        *,
        deadline_seconds: float,
        tracer: Tracer | None = None,
    ) -> None:
        """`deadline_seconds`: an update that is not acknowledged for so long has failed."""
        self._bus = bus
        self._tasks = tasks
        self._metrics = metrics
        self._deadline_seconds = deadline_seconds
        self._tracer = tracer
        self._acknowledgements = Acknowledgements[_Pending](self._acknowledged)
        self._questions = Questions(bus, SyncParts, of="documents service")
        self._slots = Bulkheads(own=_QUESTIONS_OF_A_SHARD, shared=_QUESTIONS)
        self.wholes = Wholes(least_bytes=_WHOLE_LEAST_BYTES, max_bytes=_WHOLES_MAX_BYTES)

    async def start(self) -> None:
        await self._bus.open_inbox(self._acknowledgements)
        await self._questions.open()
        self._tasks.supervise(
            "document deadlines", partial(self._acknowledgements.sweep, self._deadline_seconds, self._give_up)
        )

    async def settled(self) -> None:
        """Returns when everything published before is acknowledged or given up. The deadline bounds it."""
        await self._acknowledgements.settled()

    # --- updates ------------------------------------------------------------------------------------------

    @property
    def update_max_bytes(self) -> int:
        """The longest update that NATS accepts now."""
        return self._bus.max_payload_bytes - _MESSAGE_OVERHEAD_BYTES

    def publish(self, room: RoomId, name: DocumentName, update: bytes, author: str, publication: Publication) -> None:
        """Store an update of at most `update_max_bytes`, in the order of the calls.

        `author`: the id of its user, or those of several, separated by commas.

        It has no deduplication id, because nobody sends it again: a client whose update was not stored sends everything
        that the document lacks, as one new update. And an update that comes twice changes nothing the second time.
        """
        headers = {AUTHOR: author}
        reply = self._acknowledgements.expect(_Pending(time.monotonic(), publication))
        self._bus.publish(
            document_subjects.document(room, name),
            update,
            reply=reply,
            headers=headers,
            failed=lambda: self._give_up(reply),
        )

    def _acknowledged(self, pending: _Pending, message: Message) -> None:
        try:
            stored = parse_acknowledgement(message)
        except BusError as error:
            log.warning("an update of a document was not stored", error=str(error))
            self._give_up(message.subject)
            return
        self._acknowledgements.close(message.subject)
        self._metrics.stored += 1
        self._metrics.commit_seconds.observe(time.monotonic() - pending.published)
        pending.publication.stored(stored.sequence)

    def _give_up(self, reply: str) -> None:
        pending = self._acknowledgements.close(reply)
        if pending is not None:
            self._metrics.not_stored.inc()
            pending.publication.failed()

    # --- the documents service ----------------------------------------------------------------------------

    async def sync(self, request: SyncRequest, vector: bytes) -> SyncReply:
        """Return what a document has and a holder of this state vector has not. Raises BusError."""
        shard = subjects.shard_of(request.room)
        async with self._slots.slot(shard):
            return await self._sync(document_subjects.documents_sync(shard), request, vector)

    async def _sync(self, subject: str, request: SyncRequest, vector: bytes) -> SyncReply:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                with begun(self._tracer, "sync a document", {"studyroom.room": request.room}):
                    answer = await self._questions.ask(subject, request.encode(vector))
        except (TimeoutError, BusError) as error:
            self._metrics.sync_failures.inc()
            raise BusUnavailable(str(error) or "the documents service does not answer") from error
        if answer.head.outcome is not Outcome.OK:
            self._metrics.sync_failures.inc()
            raise BusUnavailable(f"the documents service answers {answer.head.outcome}")
        self._metrics.sync_duration.observe(time.monotonic() - began)
        return answer


class Publishing:
    """The edits of one document that were not published yet."""

    def __init__(
        self, room: RoomId, name: DocumentName, store: DocumentStore, scheduler: FlushScheduler, ask: Callable[[], None]
    ) -> None:
        """`ask` is called when edits wait. It should call `begin`, unless somebody calls `answered` soon."""
        self._room, self._name = room, name
        self._store = store
        self._ask = ask
        self._collection = Collection(scheduler, self._flush, stretch=_STRETCH)
        self._collected: list[tuple[bytes, UserId, Publication]] = []
        self._waits = False
        """Whether the collected edits wait for an answer."""
        self._waiting_bytes = 0
        """The length of those that came since."""
        self._is_asking = False
        self.may_begin = False
        """Whether the log has an update, or may get its first one."""

    @property
    def is_waiting(self) -> bool:
        """Whether some edits were not published."""
        return bool(self._collected)

    def publish(self, update: bytes, author: UserId, publication: Publication) -> None:
        """Store an update of at most `store.update_max_bytes`."""
        if self._waits:
            self._waiting_bytes += len(update)
            if self._waiting_bytes > _WAITING_MAX_BYTES:
                publication.failed()
                return
        self._collected.append((update, author, publication))
        self._collection.request_flush()

    async def begin(self) -> None:
        """Ask the documents service about the first update, unless that is under way."""
        if self._is_asking:
            return
        self._is_asking = True
        request = SyncRequest(room=self._room, name=self._name)
        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                head = (await self._store.sync(request, EMPTY_VECTOR)).head
        except (BusError, TimeoutError) as error:
            log.info("a document begins unasked", room=self._room, document=self._name, error=str(error))
            self.answered(is_empty=True, takes_edits=True)
        else:
            self.answered(is_empty=not head.sequence, takes_edits=head.accepts_edits)
        finally:
            self._is_asking = False

    def answered(self, *, is_empty: bool, takes_edits: bool) -> None:
        """The documents service has answered. `is_empty`: the log is. `takes_edits`: whether the document takes any."""
        waited, self._waits, self._waiting_bytes = self._waits, False, 0
        self.may_begin = not is_empty or (waited and takes_edits)
        if not waited:
            return
        collected, self._collected = self._collected, []
        for update, author, publication in collected:
            if self.may_begin:
                self._store.publish(self._room, self._name, update, author, publication)
            else:
                publication.failed()

    def close(self) -> None:
        """Publish the collected edits now. If `is_waiting` then, they wait for an answer: call `begin`."""
        if self.may_begin:
            self._publish_collected()
        else:
            self._waits = True

    def _flush(self) -> None:
        if self.may_begin:
            self._publish_collected()
        elif self._collected:
            self._waits = True
            self._ask()

    def _publish_collected(self) -> None:
        collected, self._collected = self._collected, []
        if len(collected) > 1:
            collected = self._merged(collected)
        for update, author, publication in collected:
            self._store.publish(self._room, self._name, update, author, publication)

    def _merged(self, collected: list[tuple[bytes, UserId, Publication]]) -> list[tuple[bytes, UserId, Publication]]:
        """Publish updates as one. Return those that are left because it would be too long."""
        try:
            together = merged([update for update, _, _ in collected])
        except Malformed:  # each of them is well-formed
            return collected
        if len(together) > self._store.update_max_bytes:
            return collected
        authors = ",".join(dict.fromkeys(author for _, author, _ in collected))
        publications = Together([publication for _, _, publication in collected])
        self._store.publish(self._room, self._name, together, authors, publications)
        return []
