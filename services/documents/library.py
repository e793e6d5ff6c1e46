"""The documents that a replica has in memory, each read from its log up to the newest update when it is asked for.

Most short documents rest, and take little memory. They leave when nobody asks for them for a while, and the least
recently used documents leave when all together are too long. Documents are read in slices, so that long logs do not
stop the event loop: pycrdt holds Python's lock while it works, so a thread would not help.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from studyroom.services.documents.document import Broken, Document, Malformed, is_of
from studyroom.services.documents.epochs import Epochs
from studyroom.services.documents.log import NOT_DELETED, Deletion, DocumentKey, DocumentLog, Newest
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import Read
from studyroom.shared.chassis.nats.bus import BusUnavailable
from studyroom.shared.chassis.sharing import result_of
from studyroom.shared.contract.documents import EMPTY_UPDATE

log = logs.get(__name__)

_SLICE_SECONDS = 0.005
_OVERHEAD_BYTES = 4096
"""The memory that a document takes in addition, so that many empty documents count too."""
_IDLE_SECONDS, _SHORT_BYTES = 10.0, 16_384
"""Documents of at most this length, which are read again in a few milliseconds, leave after this time."""
_AWAKE_MAX = 64
"""So many short documents do not rest, those that were asked for last."""
_ATTEMPTS = 5
"""How often to begin again when a snapshot is replaced during the reading."""


@dataclass(slots=True, eq=False)
class Held:
    """A document in memory."""

    key: DocumentKey
    document: Document = field(default_factory=Document)
    newest: Newest = field(default_factory=Newest)
    """The newest update that the document has."""
    snapshot: int = 0
    """The sequence of the snapshot that it was read from, or that was made of it; 0 for none."""
    covers: Newest = field(default_factory=Newest)
    """The last update that this snapshot has; none if the log has another one with its sequence."""
    updates: int = 0
    """The number of updates since then."""
    update_bytes: int = 0
    """The length of these updates."""
    deletion: Deletion = NOT_DELETED
    """Nothing that was stored before it counts."""
    edits: frozenset[str] = frozenset()
    """The ids of the long edits since the snapshot."""
    broken: frozenset[int] = frozenset()
    """The sequences of updates that pycrdt cannot apply, or whose parts are gone."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next: asyncio.Task[None] | None = None
    """The reading that has not asked for the newest update yet, so that more callers may wait for it."""
    asked_at: float = 0.0
    """When somebody has asked for it last, in monotonic seconds."""
    counted_bytes: int = 0
    """The part of the cache that the document takes."""

    def forget(self) -> None:
        self.document = Document()
        self.newest = self.covers = Newest()
        self.deletion = NOT_DELETED
        self.edits = frozenset()
        self.snapshot = self.updates = self.update_bytes = 0


class Library:
    """The documents of one group of shards."""

    def __init__(
        self,
        documents: DocumentLog,
        epochs: Epochs,
        *,
        cache_max_bytes: int,
        on_loaded: Callable[[float], None] = lambda _seconds: None,
        on_malformed: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_loaded`: called with the seconds that it took to read a document that was not in memory.

        `on_malformed`: called for each stored update that cannot be applied.
        """
        self._log = documents
        self._epochs = epochs
        self._cache_max_bytes = cache_max_bytes
        self._on_loaded = on_loaded
        self._on_malformed = on_malformed
        self._held: OrderedDict[DocumentKey, Held] = OrderedDict()
        self._awake: OrderedDict[DocumentKey, Held] = OrderedDict()
        """Short documents that do not rest."""
        self.size_bytes = 0
        """The length of all documents in memory, with something for each of them."""

    def __len__(self) -> int:
        return len(self._held)

    def clear(self) -> None:
        """Forget all documents, because the stream is another one."""
        self._held.clear()
        self._awake.clear()
        self.size_bytes = 0

    @asynccontextmanager
    async def current(self, key: DocumentKey) -> AsyncIterator[Held]:
        """Have the document up to its newest update during the block. Raises BusError.

        A caller that is cancelled does not stop the reading, so the next one finds more of it done.
        """
        held = self._held.setdefault(key, Held(key))
        self._held.move_to_end(key)
        held.asked_at = time.monotonic()
        if held.next is None:
            held.next = asyncio.create_task(self._bring_up_to_date(held), name="read document")
            # If all callers were cancelled, nobody else retrieves the exception.
            held.next.add_done_callback(lambda task: task.cancelled() or task.exception())
        await result_of(held.next)
        async with held.lock:
            yield held
        self._count(held)

    def _count(self, held: Held) -> None:
        """Count the document, and let others leave if all are too long."""
        if self._held.get(held.key) is not held:
            return
        counted, held.counted_bytes = held.counted_bytes, held.document.size_bytes + _OVERHEAD_BYTES
        self.size_bytes += held.counted_bytes - counted
        while self.size_bytes > self._cache_max_bytes and self._held:
            self.forget(next(iter(self._held)))
        self._let_rest(held)

    def _let_rest(self, used: Held) -> None:
        """Let short documents rest, but for those that were used last. `used`: the last one."""
        self._awake.pop(used.key, None)
        if used.key in self._held and used.counted_bytes <= _SHORT_BYTES and not used.document.rests:
            self._awake[used.key] = used
        while len(self._awake) > _AWAKE_MAX:
            key, oldest = self._awake.popitem(last=False)
            try:
                oldest.document.rest()
            except (Malformed, Broken):
                self.forget(key)

    def rests(self, key: DocumentKey) -> bool:
        """Return whether the document is in memory, and takes little of it."""
        return key in self._held and self._held[key].document.rests

    def forget(self, key: DocumentKey) -> None:
        """Read the document again when it is asked for. Callers that have it now keep it."""
        self._awake.pop(key, None)
        held = self._held.pop(key, None)
        if held is not None:
            self.size_bytes -= held.counted_bytes

    def drop_idle(self, now: float) -> int:
        """Drop short documents that nobody has asked for lately, and return their number. `now`: monotonic seconds."""
        idle = [
            held
            for held in self._held.values()
            if held.asked_at < now - _IDLE_SECONDS and held.counted_bytes <= _SHORT_BYTES and not held.lock.locked()
        ]
        for held in idle:
            self.forget(held.key)
        return len(idle)

    # --- reading ------------------------------------------------------------------------------------------

    async def _bring_up_to_date(self, held: Held) -> None:
        async with held.lock:
            held.next = None
            epoch = self._epochs.epoch
            newest = await self._log.newest(held.key)
            if _has_gone_back(held.newest, newest):
                await self._epochs.learn()
                held.forget()
            if held.newest.sequence and held.newest.sequence == newest.sequence:
                return
            try:
                if not held.newest.sequence or not await self._extend(held, newest):
                    await self._load(held, newest)
            except BaseException:
                held.forget()  # It may lack updates that were removed during the reading.
                raise
            self._epochs.know(held.newest, epoch)

    async def _extend(self, held: Held, newest: Newest) -> bool:
        """Read the updates after those that the document has. Return False if some of them may be gone."""
        try:
            if not await self._read_from(held, held.newest, newest.sequence):
                return False
        except Broken:
            return False
        return not await self._log.has_snapshot_after(held.key, held.snapshot)

    async def _read_from(self, held: Held, known: Newest, up_to: int) -> bool:
        """Read the updates after a known one. Return False if the log does not have that one. Raises Broken."""
        has_known = False
        async for reads in self._log.updates(held.key, known.sequence, up_to):
            if not has_known and not known.is_same(reads[0].sequence, reads[0].time):
                return False
            await self._apply(held, reads if has_known else reads[1:])
            has_known = True
        return has_known

    async def _load(self, held: Held, newest: Newest) -> None:
        began = time.monotonic()
        for _ in range(_ATTEMPTS):
            held.forget()
            try:
                if await self._read(held, newest):
                    held.document.measure()
                    self._on_loaded(time.monotonic() - began)
                    return
            except Broken:
                continue
            except Malformed as error:
                raise BusUnavailable(f"a snapshot is damaged: {error}") from error
        raise BusUnavailable("the document changes too fast to be read")

    async def _read(self, held: Held, newest: Newest) -> bool:
        """Read snapshot and log. Return False if the snapshot was replaced meanwhile, or the document deleted.

        Raises Broken.
        """
        held.deletion, snapshot = await asyncio.gather(self._log.deletion(held.key), self._log.snapshot(held.key))
        if snapshot is None:
            return False
        held.snapshot, deleted = snapshot.sequence, held.deletion.sequence
        counts = snapshot.covers.sequence > deleted  # a snapshot may come late, after the deletion of what it covers
        if counts:
            held.document.apply(snapshot.state)
            held.newest = held.covers = snapshot.covers
        if not counts or not await self._read_from(held, snapshot.covers, newest.sequence):
            # If there is a snapshot, the stream went back below it. Nothing was purged then, and all updates are there.
            held.newest = held.covers = Newest()
            async for reads in self._log.updates(held.key, deleted + 1, newest.sequence):
                await self._apply(held, reads)
        return not any(
            await asyncio.gather(
                self._log.has_snapshot_after(held.key, snapshot.sequence),
                self._log.has_deletion_after(held.key, deleted),
            )
        )

    async def _apply(self, held: Held, reads: list[Read]) -> None:
        """Apply updates in slices. Raises Broken, and does not apply that update again."""
        until = time.monotonic() + _SLICE_SECONDS
        for read in reads:
            update = read.data if read.data != EMPTY_UPDATE else await self._long_edit(held, read.sequence)
            if read.sequence not in held.broken and not is_of(update, held.deletion.clients):
                self._apply_one(held, read.sequence, update)
            held.newest = Newest(read.sequence, read.time)
            if read.sequence > held.covers.sequence:
                held.updates += 1
                held.update_bytes += len(update)
            if time.monotonic() > until:
                await asyncio.sleep(0)
                until = time.monotonic() + _SLICE_SECONDS
        held.document.settle()

    async def _long_edit(self, held: Held, sequence: int) -> bytes:
        """Return the edit that an empty update stands for. Raises Broken if its parts are gone.

        Then the document is read again, because a newer snapshot may have the edit. If none has it, it is left out.
        """
        if sequence in held.broken:
            self._on_malformed()
            return EMPTY_UPDATE
        edit = await self._log.long_edit(held.key, sequence)
        if edit is None:
            return EMPTY_UPDATE
        update = await self._log.read_edit(held.key, edit)
        if update is not None:
            held.edits |= {edit.id}
            return update
        if edit.parts[-1] < held.deletion.sequence:  # it was of the deleted document
            return EMPTY_UPDATE
        log.warning("the parts of a long edit are gone", room=held.key.room, document=held.key.name, sequence=sequence)
        held.broken |= {sequence}
        raise Broken("the parts of a long edit are gone")

    def _apply_one(self, held: Held, sequence: int, update: bytes) -> None:
        try:
            held.document.apply(update)
        except (Malformed, Broken) as error:
            self._on_malformed()
            log.warning("a stored update cannot be applied", sequence=sequence, error=str(error))
            if isinstance(error, Broken):
                held.broken |= {sequence}
                raise


def _has_gone_back(known: Newest, newest: Newest) -> bool:
    """Return whether the log has lost the newest update that was known."""
    if newest.sequence == known.sequence:
        return bool(known.sequence) and not known.is_same(*newest)
    return newest.sequence < known.sequence
