"""The documents that this gateway hosts, with one subscription each, and their repair."""

import asyncio
import time
from collections.abc import Callable
from itertools import count, cycle

from studyroom.gateway.documents.document import SUBSCRIBED, Document
from studyroom.gateway.documents.metrics import DocumentMetrics
from studyroom.gateway.documents.store import DocumentStore
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Subscription
from studyroom.shared.chassis.repairs import Repairs
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.ids import GatewayId, RoomId

log = logs.get(__name__)

_SUBSCRIBE_RETRY_SECONDS = 1.0
_TURN_SECONDS, _TURNS = 1.0, 10
"""Each second, the gateway compares a tenth of its documents with the log."""
_QUIET_ROUNDS = 16
"""Documents in which nothing was stored are compared with the log in every so many rounds only."""
_OUTDATED_SECONDS = 1.0


class _Hosted:
    __slots__ = ("_lost", "document", "subscription", "turn", "users")

    def __init__(self, document: Document, lost: "Callable[[_Hosted, str], None]", turn: int) -> None:
        """`lost` is called when NATS has ended the subscription. `turn`: in which second of a round it is compared."""
        self.document = document
        self._lost = lost
        self.turn = turn
        self.users = 0
        self.subscription: Subscription | None = None

    def refused(self, reason: str) -> None:
        self._lost(self, reason)


class DocumentHosting:
    def __init__(
        self,
        gateway: GatewayId,
        bus: Bus,
        store: DocumentStore,
        scheduler: FlushScheduler,
        tasks: Tasks,
        metrics: DocumentMetrics,
    ) -> None:
        self._gateway = gateway
        self._scheduler = scheduler
        self._bus = bus
        self._store = store
        self._tasks = tasks
        self._metrics = metrics
        self._hosted: dict[tuple[RoomId, DocumentName], _Hosted] = {}
        self._turns = cycle(range(_TURNS))
        self._on_gap, self._on_begin, self._on_refused = self._gap, self._begin, self._refused
        """One of each for all documents."""
        self._repairs = Repairs[Document](tasks.spawn, "documents", self._repair, failures=(BusError, TimeoutError))

    def __len__(self) -> int:
        return len(self._hosted)

    def start(self) -> None:
        self._tasks.supervise("compare documents", self._compare)
        self._tasks.supervise("outdated awareness", self._drop_outdated)

    def enter(self, room: RoomId, name: DocumentName) -> Document:
        """Return a document, and count one more user of it until `leave`."""
        hosted = self._hosted.get((room, name))
        if hosted is None:
            document = Document(
                self._gateway, room, name, self._bus, self._store, self._scheduler, self._metrics, self._on_gap,
                self._on_begin,
            )  # fmt: skip
            hosted = self._hosted[room, name] = _Hosted(document, self._on_refused, next(self._turns))
            self._subscribe_soon(hosted)
        hosted.users += 1
        return hosted.document

    def leave(self, document: Document) -> None:
        """Count one user less. Without users the document is not hosted any more."""
        hosted = self._hosted[document.room, document.name]
        hosted.users -= 1
        if hosted.users:
            return
        del self._hosted[document.room, document.name]
        document.closed()
        if document.publishing.is_waiting:
            self._begin(document)
        if hosted.subscription is not None:
            self._tasks.spawn("leave a document", hosted.subscription.unsubscribe())

    def _begin(self, document: Document) -> None:
        self._tasks.spawn("begin a document", document.publishing.begin())

    def reconnected(self) -> None:
        """NATS was away, so every document may have missed updates and awareness."""
        documents = [hosted.document for hosted in self._hosted.values()]
        self._repairs.invalidate_all(documents)
        for document in documents:
            document.exchange_awareness()

    # --- subscriptions ------------------------------------------------------------------------------------

    def _subscribe_soon(self, hosted: _Hosted) -> None:
        self._tasks.spawn("host a document", self._subscribe(hosted))

    async def _subscribe(self, hosted: _Hosted) -> None:
        document = hosted.document
        events = document_subjects.document_events(document.room, document.name)
        while hosted.users:
            try:
                subscription = await self._bus.subscribe(events, document.receive, refused=hosted.refused)
            except BusError as error:
                log.warning("a document cannot be hosted yet", document=str(document), error=str(error))
                await asyncio.sleep(_SUBSCRIBE_RETRY_SECONDS)
                continue
            if not hosted.users:
                await subscription.unsubscribe()
                return
            hosted.subscription = subscription
            document.subscribed.set()
            document.subscribed = SUBSCRIBED
            document.exchange_awareness()
            return

    def _refused(self, hosted: _Hosted, reason: str) -> None:
        log.warning("NATS has ended the subscription of a document", document=str(hosted.document), reason=reason)
        if hosted.subscription is not None:
            hosted.subscription.forget()
            hosted.subscription = None
        hosted.document.subscribed = asyncio.Event()
        self._subscribe_soon(hosted)
        self._repairs.invalidate(hosted.document)

    # --- repair -------------------------------------------------------------------------------------------

    def _gap(self, document: Document) -> None:
        if document not in self._repairs:
            self._repairs.invalidate(document)

    async def _repair(self, document: Document) -> None:
        """Raises BusError."""
        if document.editors:
            await document.repair()

    async def _compare(self) -> None:
        """Compare documents with the log, since NATS may lose updates without any sign. Never returns."""
        for number in count(1):
            await asyncio.sleep(_TURN_SECONDS)
            rounds, turn = divmod(number, _TURNS)
            for hosted in self._hosted.values():
                document = hosted.document
                if hosted.turn == turn and (document.active or document.full or rounds % _QUIET_ROUNDS == 0):
                    self._gap(document)

    async def _drop_outdated(self) -> None:
        while True:
            await asyncio.sleep(_OUTDATED_SECONDS)
            now = time.monotonic()
            for hosted in list(self._hosted.values()):
                hosted.document.drop_outdated(now)
