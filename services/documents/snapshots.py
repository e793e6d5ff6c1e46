"""Replaces long logs by snapshots.

A replica asks NATS, shard after shard, how many updates each document has. Replicas do not agree on who makes a
snapshot: one of them stores it first, and the others find it there.
"""

import asyncio
import random

from studyroom.services.documents.epochs import Epochs
from studyroom.services.documents.library import Held, Library
from studyroom.services.documents.log import DocumentKey, DocumentLog
from studyroom.services.documents.metrics import DocumentsMetrics
from studyroom.services.documents.settings import DocumentsSettings
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Conflict
from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.documents import DocumentStatus

log = logs.get(__name__)

_LEAST_UPDATES = 16
"""A document that was edited and then left alone gets a snapshot if its log has at least so many updates."""
_CROWDED_UPDATES = 2
"""The same for every document, while the stream is nearly full."""


class Snapshots:
    """Makes the snapshots of one group of shards."""

    def __init__(
        self, bus: Bus, documents: DocumentLog, library: Library, epochs: Epochs, settings: DocumentsSettings,
        metrics: DocumentsMetrics, shards: frozenset[int],
    ) -> None:  # fmt: skip
        self._bus = bus
        self._log = documents
        self._library = library
        self._epochs = epochs
        self._settings = settings
        self._metrics = metrics
        self._shards = sorted(shards)
        self._counts: dict[DocumentKey, int] = {}
        """The number of updates of each document with more than one, as of the last survey."""
        self._grown: set[DocumentKey] = set()
        """Documents with more updates in the last survey than in the one before."""
        self.wanted: dict[DocumentKey, None] = {}
        self._full: set[DocumentKey] = set()
        """Documents that this replica has reported as too large."""
        self._wake = asyncio.Event()

    # --- which documents ----------------------------------------------------------------------------------

    def look(self, held: Held) -> None:
        """Want a snapshot of a document if its log is long. It was just read."""
        settings = self._settings
        if held.updates >= settings.snapshot_updates or held.update_bytes >= settings.snapshot_bytes:
            self.want(held.key)

    def want(self, key: DocumentKey) -> None:
        """Make a snapshot soon."""
        self.wanted[key] = None
        self._wake.set()

    async def survey(self) -> None:
        """Look at all shards, one after the other. Never returns."""
        pause_seconds = self._settings.survey_seconds / len(self._shards)
        await asyncio.sleep(random.uniform(0, pause_seconds))  # noqa: S311 - replicas do not ask at the same time
        while True:
            for shard in self._shards:
                try:
                    self.take_counts(shard, await self._log.counts(shard))
                except BusError as error:
                    log.info("could not ask for the lengths of logs", shard=shard, error=str(error))
                await asyncio.sleep(pause_seconds)

    def take_counts(self, shard: int, counts: dict[DocumentKey, int]) -> None:
        """Want snapshots of documents with long logs, and of those that were edited before and not since."""
        for key in [key for key in self._counts if subjects.shard_of(key.room) == shard and key not in counts]:
            del self._counts[key]
            self._grown.discard(key)
        for key, count in counts.items():
            before = self._counts.get(key)
            if count > 1:
                self._counts[key] = count
            quiet = key in self._grown and count == before
            least = _CROWDED_UPDATES if self._epochs.crowded else _LEAST_UPDATES
            if count > self._settings.snapshot_updates or (quiet and count >= least):
                self.want(key)
            if before is not None and count > before:
                self._grown.add(key)
            else:
                self._grown.discard(key)

    # --- one document -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Make wanted snapshots, one at a time. Never returns."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.wanted:
                key = next(iter(self.wanted))
                del self.wanted[key]
                await self._try(key)

    async def _try(self, key: DocumentKey) -> None:
        try:
            await self.make(key)
        except Conflict:
            self._metrics.snapshots.labels(outcome="conflict").inc()
        except (BusError, TimeoutError) as error:
            self._metrics.snapshots.labels(outcome="failed").inc()
            log.warning("could not make a snapshot", room=key.room, document=key.name, error=str(error))

    async def make(self, key: DocumentKey) -> None:
        """Store a snapshot if there are new updates, then remove the updates that it covers. Raises BusError."""
        covered: frozenset[str] = frozenset()
        async with self._library.current(key) as held:
            covers = held.newest
            if held.updates >= _CROWDED_UPDATES:
                state = held.document.difference()
                self._report(held, len(state))
                stored = await self._log.store_snapshot(key, state, covers=covers, expected=held.snapshot)
                held.snapshot, held.covers, held.updates, held.update_bytes = stored, covers, 0, 0
                covered, held.edits = held.edits, frozenset()
                self._metrics.snapshots.labels(outcome="stored").inc()
                self._metrics.snapshot_bytes.observe(len(state))
            covers, needed = held.covers, held.edits
        self._metrics.purged.inc(await self._log.purge(key, covers, covered=covered, needed=needed))
        if self._epochs.crowded:
            await self._epochs.learn()  # there is more room now

    def _report(self, held: Held, size_bytes: int) -> None:
        """Let gateways know that a document has become too large, or fits again."""
        status = DocumentStatus(size_bytes=size_bytes, max_bytes=self._settings.max_bytes)
        if status.is_full == (held.key in self._full):
            return
        (self._full.add if status.is_full else self._full.discard)(held.key)
        self._bus.publish(document_subjects.document_status(*held.key), status.encode())
