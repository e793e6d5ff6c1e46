"""One document on this gateway: its position in the log, its editors, and their awareness."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from pydantic import ValidationError

from studyroom.gateway.documents import awareness, messages
from studyroom.gateway.documents.awareness import Entry, Exchange, States
from studyroom.gateway.documents.metrics import DocumentMetrics
from studyroom.gateway.documents.store import DocumentStore, Publishing
from studyroom.gateway.documents.updates import Position, Whole, has_all_of
from studyroom.gateway.rooms.flush_scheduler import Collection, FlushScheduler
from studyroom.gateway.wire.framing import Opcode, encode_frame
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, Message
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.documents import EMPTY_UPDATE, EMPTY_VECTOR, DocumentStatus, SyncReply, SyncRequest
from studyroom.shared.contract.headers import LAST_SEQUENCE, LONG_EDIT, SEQUENCE
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.lib0 import Malformed

log = logs.get(__name__)

_AWARENESS_SECONDS = 0.05
"""The shortest time between two messages with awareness. States that come meanwhile are conflated."""
_IN_FLIGHT_SECONDS = 0.3
"""A stored update that has not arrived here may be in flight. After this long, the gateway asks for it."""
_GROWN_BY = 4
"""A long document that has grown by this part of its length is read as a whole again when it is opened next."""
_EXCHANGE_ENTRIES = 64
"""The most entries of one message between gateways."""
_TOO_LARGE = "the document is too large, so it takes no more edits"
_STORAGE_FULL = "the storage of all documents is full, so they take no edits now"
_TOO_MANY = "the room has as many documents as it may have, so nobody can begin another one"
SUBSCRIBED = asyncio.Event()
SUBSCRIBED.set()
CLIENTS_MAX = 200
"""How many clients one connection or gateway may introduce for a document."""


class Editor(Protocol):
    """One connection that has the document open."""

    prefix: bytes
    """Comes before each message to the client."""
    user: UserId

    def deliver(self, frames: bytes) -> None:
        """Write stored updates."""

    def show(self, frame: bytes) -> None:
        """Write awareness, unless the client is slow."""

    def reset(self) -> None:
        """The log is another one than before, so the client must connect again."""

    def was_deleted(self) -> None:
        """The document was deleted, so the client must end it."""

    def fits(self) -> None:
        """The document takes edits again."""


class Document:
    def __init__(
        self,
        gateway: GatewayId,
        room: RoomId,
        name: DocumentName,
        bus: Bus,
        store: DocumentStore,
        scheduler: FlushScheduler,
        metrics: DocumentMetrics,
        gap: Callable[["Document"], None],
        begin: Callable[["Document"], None],
    ) -> None:
        """`gap` is called when stored updates are missing. It should call `repair`. `begin` should call that of
        `publishing`.

        `scheduler` decides when editors get stored updates: at once, or under load a few together.
        """
        self.room, self.name = room, name
        self._update_subject = document_subjects.document_update(room, name)
        self.store = store
        self.metrics = metrics
        self._gateway = gateway
        self._bus = bus
        self._gap = gap
        self._begin = begin
        self.editors: tuple[Editor, ...] = ()
        self.subscribed = asyncio.Event()
        """Replaced by `SUBSCRIBED` when it is set, because most documents are, and an event takes a kilobyte."""
        self.full = ""
        """Why the document takes no edits now; empty if it takes them."""
        self._size_bytes = self._max_bytes = 0
        """The length of the document, which may really be less, and the length from which on it is too large."""
        self.active = True
        """Something was stored since the last comparison with the log."""
        self.deleted = EMPTY_VECTOR
        """The clients whose updates are of a document that was deleted (`deleted_documents`)."""
        self._deletion = 0
        """The sequence of the last deletion."""
        self._epoch = ""
        self._position = Position()
        self._begun = 0
        """The sequence of the first answer."""
        self._base = EMPTY_VECTOR
        """The state of the document at a sequence up to which all editors have it."""
        self._awaited = 0
        """The highest sequence that is known to be stored."""
        self._long_edit = 0
        """The sequence of a long edit that has not come yet; 0 for none. Only its place in the log has come."""
        self._check: asyncio.TimerHandle | None = None
        self._collection = Collection(scheduler, self._write_collected)
        self._collected: list[bytes] = []
        """Messages with stored updates that the editors have not got yet."""
        self.publishing = Publishing(room, name, store, scheduler, self._ask_to_begin)
        self._asking = 0
        """How many questions the documents service has not answered."""
        self._states = States[Editor | str](clients_max=CLIENTS_MAX)
        self._news: dict[int, tuple[Entry, bool]] | None = None
        """Changed states by client, and whether they are of this gateway."""
        self._flush: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0

    def __str__(self) -> str:
        return f"{self.room}/{self.name}"

    # --- editors ------------------------------------------------------------------------------------------

    def attach(self, editor: Editor) -> None:
        self.editors += (editor,)

    def detach(self, editor: Editor) -> None:
        self.editors = tuple(other for other in self.editors if other is not editor)
        self._spread(self._states.withdraw(editor, time.monotonic()), own=True)
        if not self.editors:
            self._send_news()

    def closed(self) -> None:
        """The gateway does not host the document any more. Collected edits are published now, but for the first."""
        self.publishing.close()
        for timer in (self._check, self._flush):
            if timer is not None:
                timer.cancel()

    def _write_collected(self) -> None:
        """Write the collected updates to all editors, each time in one write."""
        collected, self._collected = self._collected, []
        self.metrics.deliveries += len(collected) * len(self.editors)
        written: dict[bytes, bytes] = {}
        for editor in self.editors:
            frames = written.get(editor.prefix)
            if frames is None:
                frames = written[editor.prefix] = _frames(editor.prefix, collected)
            editor.deliver(frames)

    def _show(self, message: bytes) -> None:
        frames: dict[bytes, bytes] = {}
        for editor in self.editors:
            frame = frames.get(editor.prefix)
            if frame is None:
                frame = frames[editor.prefix] = _frames(editor.prefix, [message])
            editor.show(frame)

    # --- events of the bus --------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        if message.subject == self._update_subject:
            self._receive_update(message)
            return
        match document_subjects.document_event_kind(message.subject):
            case "awareness":
                self._receive_awareness(message.data)
            case "status":
                self._receive_status(message.data)

    def _receive_update(self, message: Message) -> None:
        headers = message.headers or {}
        self._position.receive(int(headers[LAST_SEQUENCE]), int(headers[SEQUENCE]))
        self.active = self.publishing.may_begin = True
        if message.data == EMPTY_UPDATE and LONG_EDIT in headers:
            self._long_edit = int(headers[SEQUENCE])
        else:
            self._deliver(message.data)
        self._size_bytes += len(message.data)
        has_changed = self.full == _TOO_MANY if self.full else 0 < self._max_bytes <= self._size_bytes
        if has_changed or self._long_edit or self._position.has_gap:
            self._gap(self)

    def _deliver(self, update: bytes) -> None:
        self._collected.append(messages.update(update))
        self._collection.request_flush()

    def _receive_status(self, data: bytes) -> None:
        try:
            status = DocumentStatus.decode(data)
        except ValidationError as error:
            log.error("malformed status of a document", error=str(error))
            return
        if status.deleted:
            if status.deleted > self._deletion and self._epoch:
                self._end(status.deleted)
        elif status.is_full or self.full == _TOO_LARGE:
            self._set_full(_TOO_LARGE if status.is_full else "")

    @property
    def full_kind(self) -> str:
        """`full` for programs."""
        return "too_many_documents" if self.full == _TOO_MANY else "full"

    def _set_full(self, why: str) -> None:
        was_full, self.full = self.full, why
        if was_full and not why:
            for editor in self.editors:
                editor.fits()

    # --- the log ------------------------------------------------------------------------------------------

    async def ask(self, vector: bytes) -> SyncReply:
        """Return what the document has and a holder of this state vector has not. Raises BusError.

        Together with what editors get from now on, it is everything.
        """
        self._asking += 1
        try:
            await self.subscribed.wait()
            return await self._ask(vector)
        finally:
            self._asking -= 1

    async def _ask(self, vector: bytes) -> SyncReply:
        while True:
            request = SyncRequest(
                room=self.room,
                name=self.name,
                epoch=self._epoch,
                position=self._position.reached or 0,
                knows_deletions=True,
            )
            reply = await self.store.sync(request, vector)
            if reply.head.epoch == self._epoch and reply.head.deleted < self._deletion:
                continue  # it is from before the deletion
            self._learn(reply)
            if reply.head.sequence >= self._begun:
                return reply

    def _ask_to_begin(self) -> None:
        if not (self._asking and self._position.reached is None):  # otherwise the first answer comes soon
            self._begin(self)

    async def ask_everything(self) -> tuple[bytes, SyncReply]:
        """Return an update, and what the document has and a holder of that update has not. Raises BusError."""
        wholes, key = self.store.wholes, (self.room, self.name)
        if (whole := wholes.get(key)) is not None:
            reply = await self.ask(whole.vector)
            if whole.log == _log_of(reply) and has_all_of(reply.vector, whole.vector):
                if len(reply.difference) > len(whole.update) // _GROWN_BY:
                    wholes.drop(key)
                return whole.update, reply
            wholes.drop(key)  # this document is another one, or the stream has lost its newest updates
        reply = await self.ask(EMPTY_VECTOR)
        wholes.put(key, Whole(_log_of(reply), reply.vector, reply.difference))
        return EMPTY_UPDATE, reply

    def _learn(self, reply: SyncReply) -> None:
        head = reply.head
        if self._epoch and head.epoch != self._epoch:
            log.warning("the log of a document is another one, editors connect again", document=str(self))
            self._begin_again()
            for editor in self.editors:
                editor.reset()
        elif self._epoch and head.deleted > self._deletion:
            self._end(head.deleted)
        self._epoch, self._deletion, self.deleted = head.epoch, head.deleted, reply.deleted
        if self._position.reached is None:
            self._begun, self._base = head.sequence, reply.vector
            self._position.answered(head.sequence)
            if self._position.has_gap:
                self._gap(self)
        self.is_stored(head.sequence)
        self._size_bytes, self._max_bytes = head.size_bytes, head.max_bytes
        others = _STORAGE_FULL if head.storage_full else _TOO_MANY if head.room_full else ""
        self._set_full(_TOO_LARGE if head.is_full else others)
        self.publishing.answered(is_empty=not head.sequence, takes_edits=not self.full)

    def _end(self, deletion: int) -> None:
        """The document was deleted. Another one with its name begins."""
        self._deletion = deletion
        self._begin_again()
        for editor in self.editors:
            editor.was_deleted()

    def _begin_again(self) -> None:
        self._position, self._begun, self._awaited, self._long_edit = Position(), 0, 0, 0
        self._base = EMPTY_VECTOR

    def is_stored(self, sequence: int) -> None:
        """An update with this sequence is stored, so it should arrive here soon."""
        self._awaited = max(self._awaited, sequence)
        if self._awaited > self._position.newest and self._check is None:
            self._check = asyncio.get_running_loop().call_later(_IN_FLIGHT_SECONDS, self._check_arrival)

    def _check_arrival(self) -> None:
        self._check = None
        if self.editors and self._awaited > self._position.newest:
            self._gap(self)

    async def repair(self) -> None:
        """Give all editors what they may have missed. Raises BusError."""
        reply = await self.ask(self._base)
        if reply.head.sequence < self._long_edit:  # it has come since
            reply = await self.ask(self._base)
        is_behind = reply.head.sequence > (self._position.reached or 0) or self._position.has_gap
        if is_behind:
            self.metrics.gaps.inc()
        if is_behind or self._long_edit:
            self._long_edit = 0
            if reply.difference != EMPTY_UPDATE:
                self._deliver(reply.difference)
            self._position.answered(reply.head.sequence)
        self._base = reply.vector if reply.head.sequence <= (self._position.reached or 0) else self._base
        self.active = False

    # --- awareness ----------------------------------------------------------------------------------------

    def present(self) -> bytes:
        """An awareness update with the states of all clients that are there; empty if there are none."""
        entries = self._states.present()
        return awareness.encode(entries) if entries else b""

    def take_awareness(self, editor: Editor, entries: Iterable[Entry]) -> None:
        self._spread(self._states.take(entries, editor, editor.user, time.monotonic()), own=True)

    def drop_outdated(self, now: float) -> None:
        """Drop states that were not renewed in time. Other gateways do the same. `now`: monotonic seconds."""
        self._spread(self._states.drop_outdated(now), own=False)

    def exchange_awareness(self) -> None:
        """Ask the other gateways for the states of their clients, and send them those of this one."""
        self._publish_awareness(list(self._own_entries()), asks=True)

    def _own_entries(self) -> Iterable[Entry]:
        for editor in self.editors:
            yield from self._states.of(editor)

    def _receive_awareness(self, data: bytes) -> None:
        try:
            exchange = Exchange.decode(data)
        except Malformed as error:
            log.error("malformed awareness of another gateway", error=str(error))
            return
        news = []
        for entry, user in exchange.entries:
            news += self._states.take([entry], exchange.gateway, user, time.monotonic())
        self._spread(news, own=False)
        if exchange.asks:
            self._publish_awareness(list(self._own_entries()))

    def _spread(self, entries: Iterable[Entry], *, own: bool) -> None:
        for entry in entries:
            if self._news is None:
                self._news = {}
            self._news[entry.client] = (entry, own)
        if self._news is not None and self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_at(self._flushed_at + _AWARENESS_SECONDS, self._send_news)

    def _send_news(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        self._flushed_at = asyncio.get_running_loop().time()
        if self._news is None:
            return
        news, self._news = list(self._news.values()), None
        message = messages.awareness(awareness.encode(entry for entry, _ in news))
        self._show(message)
        if own := [entry for entry, is_own in news if is_own]:
            self._publish_awareness(own)

    def _publish_awareness(self, entries: list[Entry], *, asks: bool = False) -> None:
        subject = document_subjects.document_awareness(self.room, self.name)
        for start in range(0, len(entries) or asks, _EXCHANGE_ENTRIES):
            part = entries[start : start + _EXCHANGE_ENTRIES]
            with_users = [(entry, self._states.user_of(entry.client)) for entry in part]
            self._bus.publish(subject, Exchange(self._gateway, with_users, asks=asks and start == 0).encode())


def _frames(prefix: bytes, collected: list[bytes]) -> bytes:
    return b"".join([encode_frame(Opcode.BINARY, prefix + message) for message in collected])


def _log_of(reply: SyncReply) -> tuple[str, int]:
    return reply.head.epoch, reply.head.deleted
