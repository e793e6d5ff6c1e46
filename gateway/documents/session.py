"""One document over one connection: what its client sends, and when the client counts as synced.

*Synced means stored.* The order of the messages of a sync makes it so:

    client   step 1: its state vector
    gateway  an update with all that the client lacks, then its own step 1: the state vector of the document
    client   step 2: all that the document lacks
    gateway  step 2, empty, when the stream has acknowledged that. Only a step 2 makes a client count as synced

Later edits come back to their author when they are stored, as they come to all others. A client of Hocuspocus also gets
a sync status for each.

Nothing is repeated here if an edit is not stored. The client still has it. So the session drops the edits that follow,
asks the client for everything that the document lacks, and gets it as one update.
"""

import asyncio
import random
from dataclasses import dataclass

from studyroom.gateway.documents import awareness, messages
from studyroom.gateway.documents.document import Document
from studyroom.gateway.documents.messages import Awareness, Edit, FromClient, QueryAwareness, SyncStep1
from studyroom.gateway.documents.updates import adds_nothing, check_update, check_vector, merged
from studyroom.gateway.wire.framing import Opcode, encode_frame
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract.deleted_documents import is_of_deleted
from studyroom.shared.contract.documents import EMPTY_UPDATE, EMPTY_VECTOR, SyncReply
from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.lib0 import Malformed

_RETRY_SECONDS = (0.25, 4.0)
"""The first and the longest pause before the gateway asks again, doubled in between, with jitter."""
DELETED = "this document was deleted: open it again with a new copy"
_STATE_MAX_BYTES = 8192
"""Longer awareness states are ignored."""


class Client:
    """The connection of the client as a session sees it."""

    is_slow: bool

    def write(self, frame: bytes) -> None:
        """Write encoded frames."""
        raise NotImplementedError

    def refuse(self, session: "Session", kind: str, reason: str) -> None:
        """Say why an edit is refused. `kind`: for programs."""
        raise NotImplementedError

    def restart(self) -> None:
        """Let the client connect again."""
        raise NotImplementedError

    def end(self, session: "Session") -> None:
        """End the document for the client, because it was deleted."""
        raise NotImplementedError


@dataclass(slots=True)
class _Wanted:
    """A question to the documents service."""

    vector: bytes
    asks_client: bool
    """Whether to ask the client then for all that the document lacks."""


@dataclass(slots=True)
class _Batch:
    """Edits that are stored together, as one update if that is not too long."""

    session: "Session"
    statuses: int
    """How many edits of the client get a sync status."""
    round: int
    """The sync in which they came."""
    is_answer: bool
    """Whether they have all that the document lacked."""
    left: int
    """How many updates have no outcome yet."""
    is_stored: bool = True

    def stored(self, sequence: int) -> None:
        self.session.document.is_stored(sequence)
        self._count()

    def failed(self) -> None:
        self.is_stored = False
        self._count()

    def _count(self) -> None:
        self.left -= 1
        if not self.left:
            self.session.settled(self)


class Session:
    def __init__(
        self, document: Document, client: Client, tasks: Tasks, user: UserId, *, name: str, prefix: bytes,
        may_write: bool, has_status: bool, merge_seconds: float,
    ) -> None:  # fmt: skip
        """`name`: the one that the client gives the document. `prefix` comes before each message to the client.
        `has_status`: whether the client gets a sync status for each edit."""
        self.document = document
        self.name = name
        self.prefix = prefix
        self.user = user
        self.may_write = may_write
        self._has_status = has_status
        self._client = client
        self._tasks = tasks
        self._merge_seconds = merge_seconds
        self._is_open = True
        self._wanted: _Wanted | None = None
        self._asking: asyncio.Task[None] | None = None
        self._reply: SyncReply | None = None
        """The last answer that went to the client with a step 1."""
        self._state = b""
        """The state of the document at a time from which on the client has got everything; empty before the first."""
        self._is_stale = False
        """The client was slow and has not got everything since."""
        self._unsynced = False
        """The client waits for the step 2 of the gateway."""
        self._round = 0
        """Counts the syncs that the client has begun. It counts its edits from there."""
        self._dropping = False
        """An edit was not stored, so the following ones are dropped until the client has sent everything."""
        self._dropped_for = ""
        """The kind of the refusal for now whose reason the client has got."""
        self._unanswered = 0
        """Edits of this round that were dropped or not stored, and get their sync status later."""
        self._owed = 0
        """Sync statuses that wait for the end of a sync."""
        self._is_syncing = False
        """A sync has begun, and not all that the client has sent since is stored."""
        self._explained = ""
        """The kind of the last refusal whose reason the client has got."""
        self._collected: list[bytes] = []
        self._collected_statuses = 0
        self._in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ask_again: asyncio.TimerHandle | None = None
        self._pause_seconds = _RETRY_SECONDS[0]
        document.attach(self)
        if present := document.present():
            self._send(messages.awareness(present))

    def was_deleted(self) -> None:
        self._collected.clear()
        self._client.end(self)

    def reset(self) -> None:
        self._client.restart()

    def close(self) -> None:
        """The connection is lost, or the client has closed the document."""
        self._is_open = False
        self._publish()
        for timer in (self._timer, self._ask_again):
            if timer is not None:
                timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
        self.document.detach(self)

    # --- from the client ----------------------------------------------------------------------------------

    def receive(self, message: FromClient) -> None:
        """Raises Malformed."""
        match message:
            case SyncStep1(state):
                check_vector(state)
                self._round += 1
                self._unanswered = self._owed = 0
                self._unsynced = self._is_syncing = True
                self._ask(_Wanted(state, asks_client=True))
            case Edit(update, is_answer=is_answer):
                self.edit(update, is_answer=is_answer)
            case Awareness(update):
                entries = [entry for entry in awareness.read(update) if len(entry.state) <= _STATE_MAX_BYTES]
                self.document.take_awareness(self, entries)
            case QueryAwareness():
                self._send(messages.awareness(self.document.present() or awareness.encode([])))

    def edit(self, update: bytes, *, is_answer: bool = False) -> None:
        """Raises Malformed."""
        try:
            check_update(update)
        except Malformed:
            self._reject("malformed", "the update is not a Yjs update")
            raise
        if self.document.deleted != EMPTY_VECTOR and is_of_deleted(update, self.document.deleted):
            self._reject("deleted", DELETED)
            self.was_deleted()
        elif is_answer and adds_nothing(update, self._reply):
            self._pay(int(self._unsynced) + self._unanswered)
            self._unanswered = 0
            self._dropping, self._dropped_for = False, ""
            self._finish_sync()
        elif not self.may_write:
            self._reject("read_only", "you may only read this document")
            if is_answer:
                self._finish_sync()
        elif self._dropping and not is_answer:
            self._unanswered += 1
        elif self.document.full:
            self._drop(self.document.full_kind, self.document.full, statuses=int(not is_answer))
        elif update == EMPTY_UPDATE:
            self._pay(1)
        elif len(update) > self.document.store.update_max_bytes:
            self._drop("too_large", f"an edit of {len(update)} bytes is too large", statuses=int(not is_answer))
        else:
            self._store(update, is_answer=is_answer)

    def _reject(self, kind: str, reason: str) -> None:
        """Refuse an edit for good."""
        self.document.metrics.refused.labels(reason=kind).inc()
        if kind != self._explained:
            self._explained = kind
            self._client.refuse(self, kind, reason)
        self._status(stored=False)

    def _drop(self, kind: str, reason: str, *, statuses: int) -> None:
        """Refuse an edit for now."""
        self._unanswered += statuses
        if kind != self._dropped_for:
            self.document.metrics.refused.labels(reason=kind).inc()
            self._client.refuse(self, kind, reason)
        self._dropping, self._dropped_for = True, kind

    # --- storing ------------------------------------------------------------------------------------------

    def _store(self, update: bytes, *, is_answer: bool) -> None:
        self._collected.append(update)
        if is_answer:
            self._dropping, self._dropped_for = False, ""
            self._collected_statuses += int(self._unsynced) + self._unanswered
            self._unanswered = 0
        else:
            self._collected_statuses += 1
        if is_answer or not self._in_flight:
            self._publish(is_answer=is_answer)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._merge_seconds, self._publish)

    def _publish(self, *, is_answer: bool = False) -> None:
        """Publish what was collected. It is one update, unless that would be too long."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._collected:
            return
        updates, self._collected = self._collected, []
        statuses, self._collected_statuses = self._collected_statuses, 0
        document = self.document
        try:
            together = merged(updates)
        except Malformed:  # each of them is well-formed
            together = b""
        if together and len(together) <= document.store.update_max_bytes:
            updates = [together]
        batch = _Batch(self, statuses, self._round, is_answer, len(updates))
        self._in_flight += 1
        for update in updates:
            document.publishing.publish(update, self.user, batch)

    def settled(self, batch: _Batch) -> None:
        """The outcome of a batch is known."""
        self._in_flight -= 1
        if not self._is_open:
            return
        is_current = batch.round == self._round
        if batch.is_stored:
            self._pause_seconds = _RETRY_SECONDS[0]
            if is_current:
                self._pay(batch.statuses)
            if is_current and batch.is_answer:
                self._finish_sync()
        else:
            if is_current:
                self._unanswered += batch.statuses - int(batch.is_answer and self._unsynced)
            self._dropping = True
            self._ask_again_later()
        self._pay(0)
        if not self._in_flight:
            self._publish()

    def _finish_sync(self) -> None:
        """The client has everything, and so has the document."""
        self._reply = None
        if self._unsynced:
            self._unsynced = False
            self._send(messages.step_2(EMPTY_UPDATE))
            self._pay(0)

    def _pay(self, statuses: int) -> None:
        """Tell a client of Hocuspocus that so many of its edits are stored.

        Its provider sends edits of before the connection after its step 1, and does not count them. During a sync it
        would take their statuses for those of later edits, and of the sync. So they wait until all is stored.
        """
        self._owed += statuses
        if self._is_syncing and (self._unsynced or self._in_flight or self._collected):
            return
        self._is_syncing = False
        owed, self._owed = self._owed, 0
        for _ in range(owed):
            self._status(stored=True)

    def _status(self, *, stored: bool) -> None:
        if self._has_status:
            self._send(messages.sync_status(stored=stored))

    # --- asking -------------------------------------------------------------------------------------------

    def _ask_again_later(self) -> None:
        if self._ask_again is None and self._state:
            seconds = self._pause_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            self._pause_seconds = min(2 * self._pause_seconds, _RETRY_SECONDS[1])
            self._ask_again = asyncio.get_running_loop().call_later(seconds, self._ask_client)

    def _ask_client(self) -> None:
        self._ask_again = None
        self._ask(_Wanted(self._state, asks_client=True))

    def fits(self) -> None:
        if self._dropping:
            self._ask_again_later()

    def _ask(self, wanted: _Wanted) -> None:
        before = self._wanted
        self._wanted = wanted
        if before is not None and before.asks_client and not wanted.asks_client:
            self._wanted = before
        if self._asking is None:
            self._asking = self._tasks.spawn("sync a document", self._ask_service())

    async def _ask_service(self) -> None:
        pause_seconds = _RETRY_SECONDS[0]
        try:
            while (wanted := self._wanted) is not None:
                try:
                    if wanted.vector == EMPTY_VECTOR:
                        known, reply = await self.document.ask_everything()
                    else:
                        known, reply = EMPTY_UPDATE, await self.document.ask(wanted.vector)
                except BusError:
                    await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                    pause_seconds = min(2 * pause_seconds, _RETRY_SECONDS[1])
                    continue
                if not self._is_open:  # the answer has shown that the document was deleted
                    return
                if self._wanted is wanted:
                    self._wanted = None
                self._answered(known, reply, wanted)
        finally:
            self._asking = None

    def _answered(self, known: bytes, reply: SyncReply, wanted: _Wanted) -> None:
        """`known`: an update to send before the answer."""
        self._state = reply.vector
        for update in (known, reply.difference):
            if update != EMPTY_UPDATE:
                self._send(messages.update(update))
        if wanted.asks_client:
            self._reply = reply
            self._send(messages.step_1(reply.vector))
        self._refresh()

    # --- to the client ------------------------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        self._client.write(encode_frame(Opcode.BINARY, self.prefix + message))

    def deliver(self, frames: bytes) -> None:
        if self._client.is_slow:
            self._is_stale = True
        else:
            self._client.write(frames)

    def show(self, frame: bytes) -> None:
        if not self._client.is_slow:
            self._client.write(frame)

    def caught_up(self) -> None:
        """The client is not slow any more. If it has missed updates, give it a fresh sync."""
        self._refresh()
        if present := self.document.present():
            self._send(messages.awareness(present))

    def _refresh(self) -> None:
        if self._is_stale and self._state and not self._client.is_slow:
            self._is_stale = False
            self.document.metrics.fresh_syncs.inc()
            self._ask(_Wanted(self._state, asks_client=False))
