"""The documents service: answers requests of gateways over NATS, and has snapshots made."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from studyroom.services.documents.computing import Computing
from studyroom.services.documents.document import Malformed
from studyroom.services.documents.epochs import Epochs
from studyroom.services.documents.library import Held, Library
from studyroom.services.documents.log import DocumentKey, DocumentLog
from studyroom.services.documents.management import Management
from studyroom.services.documents.metrics import DocumentsMetrics, DocumentsState
from studyroom.services.documents.settings import DocumentsSettings
from studyroom.services.documents.snapshots import Snapshots
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.bulkheads import Bulkheads
from studyroom.shared.chassis.memory import empty_free_lists, trim
from studyroom.shared.chassis.nats.bus import BusError, BusUnavailable, Message
from studyroom.shared.chassis.nats.provisioned import check_groups
from studyroom.shared.chassis.requests import Requests
from studyroom.shared.chassis.settings import Settings, StorageSettings
from studyroom.shared.chassis.shards import parse_shards
from studyroom.shared.chassis.spec import Chassis
from studyroom.shared.chassis.tracing.spans import serving
from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.document_requests import AnswerHead, DocumentAnswer, DocumentRequest, RequestOutcome
from studyroom.shared.contract.documents import MalformedSync, Outcome, SyncHead, SyncReply, SyncRequest
from studyroom.shared.contract.groups import Group, all_groups

log = logs.get(__name__)
Asked = TypeVar("Asked", SyncRequest, DocumentRequest)
Answered = TypeVar("Answered")

_OWN_OF_A_SHARD = 4
"""Requests that each shard may work on at once, however busy other shards are."""
_LEARN_SECONDS = 10.0
"""How often a replica looks whether the stream has lost updates, and how full it is."""
_RETRY_SECONDS = 0.2
_MANY = 100
"""After so many documents have left memory at once, it goes back to the system."""


class _Part:
    """The part of this replica for one group of shards."""

    def __init__(
        self, chassis: Chassis, group: Group, shards: frozenset[int], own: DocumentsSettings, metrics: DocumentsMetrics,
        cache_max_bytes: int, computing: Computing,
    ) -> None:  # fmt: skip
        self.log = DocumentLog(chassis.bus, group)
        self.epochs = Epochs(chassis.bus, group, self._on_replaced)
        self.library = Library(
            self.log,
            self.epochs,
            cache_max_bytes=cache_max_bytes,
            on_loaded=metrics.load_duration.observe,
            on_malformed=metrics.malformed.inc,
        )
        self.management = Management(chassis.bus, self.log, self.library, self.epochs, computing, own)
        self.snapshots = Snapshots(chassis.bus, self.log, self.library, self.epochs, own, metrics, shards)

    def _on_replaced(self) -> None:
        self.library.clear()

    async def watch(self) -> None:
        """Learn the identity of the stream regularly. Never returns."""
        while True:
            try:
                await self.epochs.learn()
            except BusError as error:
                log.info("cannot look at the stream of documents", error=str(error))
            if self.library.drop_idle(time.monotonic()) >= _MANY:
                empty_free_lists()
                await asyncio.to_thread(trim)
            await asyncio.sleep(_LEARN_SECONDS if self.epochs.sure else _RETRY_SECONDS)


class Documents:
    def __init__(self, chassis: Chassis, settings: dict[type[Settings], Any]) -> None:
        own: DocumentsSettings = settings[DocumentsSettings]
        self._own = own
        self._bus = chassis.bus
        self._tasks = chassis.tasks
        self._tracer = chassis.tracer
        self._groups = settings[StorageSettings].groups
        self._slots = Bulkheads(own=_OWN_OF_A_SHARD, shared=own.concurrent_requests)
        self._metrics = DocumentsMetrics(chassis.registry)
        shards = parse_shards(own.shards)
        served = [(group, shards.intersection(group.shards)) for group in all_groups(self._groups)]
        served = [(group, own_shards) for group, own_shards in served if own_shards]
        share = own.cache_max_bytes // len(served)
        computing = Computing()
        self._parts = [_Part(chassis, group, some, own, self._metrics, share, computing) for group, some in served]
        self._of_shard = {shard: part for (_, some), part in zip(served, self._parts, strict=True) for shard in some}
        self._shards = shards
        self._metrics.watch(
            DocumentsState(
                documents=lambda: sum(len(part.library) for part in self._parts),
                document_bytes=lambda: sum(part.library.size_bytes for part in self._parts),
                waiting=lambda: {shard: n for shard, n in self._slots.waiting_in().items() if isinstance(shard, int)},
                shards=shards,
            )
        )
        self._requests = Requests(self._bus, self._tasks)
        self._bus.on_disconnected(self._on_disconnected)

    async def start(self) -> None:
        """Return when this replica answers requests. Documents of a stream without a leader wait for it."""
        await check_groups(self._bus, subjects.GATEWAYS_STREAM, self._groups)
        for part in self._parts:
            await part.log.open()
            self._tasks.supervise("stream of documents", part.watch)
            self._tasks.supervise("survey of documents", part.snapshots.survey)
            self._tasks.supervise("snapshots", part.snapshots.run)
        questions = subjects.of_shards(document_subjects.documents_sync, self._shards)
        await self._requests.listen(questions, self._accept, queue=subjects.DOCUMENTS_QUEUE)
        requests = subjects.of_shards(document_subjects.documents_manage, self._shards)
        await self._requests.listen(requests, self._accept_management, queue=subjects.DOCUMENTS_QUEUE)
        await self._requests.subscribed()

    def not_ready(self) -> list[str]:
        away = [part.log.group.documents_stream for part in self._parts if not part.epochs.sure]
        return [f"{', '.join(away)} does not answer"] if away else []

    async def drain(self) -> None:
        """Stop receiving requests, and finish those that are under way."""
        await self._requests.drain()

    async def stop(self) -> None:
        """The chassis closes the bus."""

    def _on_disconnected(self) -> None:
        for part in self._parts:
            part.epochs.invalidate()

    # --- requests -----------------------------------------------------------------------------------------

    def _accept(self, message: Message) -> None:
        self._requests.begin("sync", self._work(message))

    async def _work(self, message: Message) -> None:
        with serving(self._tracer, message.headers, "documents sync"), self._metrics.request_duration.time():
            reply = await self._answer(message)
        if reply.head.outcome is not Outcome.OK:
            self._metrics.refused.labels(outcome=reply.head.outcome.value).inc()
        for part in reply.messages(self._bus.max_payload_bytes):
            self._bus.publish(message.reply, part)

    def _accept_management(self, message: Message) -> None:
        self._requests.begin("manage documents", self._manage(message))

    async def _manage(self, message: Message) -> None:
        with serving(self._tracer, message.headers, "documents manage"), self._metrics.management_duration.time():
            answer = await self._carry_out(message)
        self._metrics.management.labels(outcome=answer.head.outcome.value).inc()
        for part in answer.messages(self._bus.max_payload_bytes):
            self._bus.publish(message.reply, part)

    async def _carry_out(self, message: Message) -> DocumentAnswer:
        return await self._attempt(
            message,
            DocumentRequest.decode,
            lambda part, request, update: part.management.answer(_shard_of(message), request, update),
            lambda outcome: DocumentAnswer(head=AnswerHead(outcome=RequestOutcome(outcome))),
        )

    async def _answer(self, message: Message) -> SyncReply:
        return await self._attempt(
            message, SyncRequest.decode, self._sync, lambda outcome: SyncReply(head=SyncHead(outcome=outcome))
        )

    async def _attempt(
        self,
        message: Message,
        decode: Callable[[bytes], tuple[Asked, bytes]],
        work: Callable[[_Part, Asked, bytes], Awaitable[Answered]],
        refusal: Callable[[Outcome], Answered],
    ) -> Answered:
        """Do the work for a request, in turn with others of its shard."""
        try:
            shard = _shard_of(message)
            request, body = decode(message.data)
            async with asyncio.timeout(self._own.request_deadline_seconds), self._slots.slot(shard):
                return await work(self._of_shard[shard], request, body)
        except (MalformedSync, Malformed, KeyError) as error:
            log.error("cannot decode a request", subject=message.subject, error=str(error))
            return refusal(Outcome.INVALID)
        except (BusError, TimeoutError) as error:
            log.warning("could not carry out a request", subject=message.subject, error=str(error) or "deadline")
            return refusal(Outcome.UNAVAILABLE)

    async def _sync(self, part: _Part, request: SyncRequest, vector: bytes) -> SyncReply:
        """Raises Malformed or BusError."""
        epochs = part.epochs
        await epochs.ensure(request.epoch, request.position)
        epoch = epochs.epoch
        async with part.library.current(DocumentKey(request.room, request.name)) as held:
            if not epochs.sure or epochs.epoch != epoch:
                raise BusUnavailable("the stream of documents may be another one")
            reply = self._reply(part, held, vector, knows_deletions=request.knows_deletions)
        part.snapshots.look(held)
        if not reply.head.sequence and not await part.management.takes_another(held.key):
            self._metrics.full.labels(reason="room").inc()
            return reply.model_copy(update={"head": reply.head.model_copy(update={"room_full": True})})
        return reply

    def _reply(self, part: _Part, held: Held, vector: bytes, *, knows_deletions: bool) -> SyncReply:
        most = self._own.max_bytes
        size = held.document.size_bytes
        if size >= most:
            size = held.document.measure()
        head = SyncHead(
            epoch=part.epochs.epoch,
            sequence=held.newest.sequence,
            size_bytes=size,
            max_bytes=most,
            storage_full=part.epochs.full,
            deleted=held.deletion.sequence,
            deleted_bytes=len(held.deletion.clients) if knows_deletions and held.deletion.sequence else 0,
        )
        for reason, applies in (("document", head.is_full), ("storage", head.storage_full)):
            if applies:
                self._metrics.full.labels(reason=reason).inc()
        difference = held.document.difference(vector)
        return SyncReply(head=head, vector=held.document.vector, difference=difference, deleted=held.deletion.clients)


def _shard_of(message: Message) -> int:
    """Return the shard in the subject of a request, `documents.<shard>.<kind>`."""
    return int(message.subject.split(".")[1])
