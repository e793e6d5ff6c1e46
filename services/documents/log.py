"""The logs and snapshots of documents in the stream of a group of shards.

A snapshot that is too long for one message has parts before it. Its last message names their sequences.
"""

import asyncio
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.batches import BatchReader, Read
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, BusUnavailable
from studyroom.shared.chassis.nats.stored import erase
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.documents import EMPTY_VECTOR
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.headers import EXPECTED_SEQUENCE, LONG_EDIT
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.incarnation import is_same_time
from studyroom.shared.contract.long_edits import LongEdit

log = logs.get(__name__)

_ABANDONED_SECONDS = 600
"""Parts that nothing names are removed after this time. A process was lost while it stored them."""
_BATCH_MAX = 1024
_BATCH_MAX_BYTES = 1_048_576
_PART_BYTES = 524_288
_STALE_SECONDS = 0.05
"""The pause before the next request when a replica of the stream lags."""
_ATTEMPTS_FOR_REMOVED = 40
_COVERS, _COVERS_TIME = "Studyroom-Covers", "Studyroom-Covers-Time"
"""In a snapshot, the sequence and the commit time of the last update that it has."""
_PARTS = "Studyroom-Parts"
"""In a snapshot, the sequences of its parts, separated by commas."""


class DocumentKey(NamedTuple):
    room: RoomId
    name: DocumentName


class Newest(NamedTuple):
    """The newest update of a document, or of its snapshot."""

    sequence: int = 0
    """0 if there is none."""
    time: str = ""
    """Its commit time (RFC 3339)."""

    def is_same(self, sequence: int, time: str) -> bool:
        """Return whether this is the same update. Other updates may get its sequence after a stream went back."""
        return sequence == self.sequence and is_same_time(time, self.time)


class Stored(NamedTuple):
    """A message of the stream."""

    sequence: int
    time: str
    """Its commit time (RFC 3339)."""
    data: bytes


class Snapshot(NamedTuple):
    sequence: int = 0
    """The sequence of its last message; 0 if the document has no snapshot."""
    covers: Newest = Newest()
    state: bytes = b""


class Deletion(NamedTuple):
    """The last deletion of a document."""

    sequence: int = 0
    """0 if it was never deleted."""
    clients: bytes = EMPTY_VECTOR
    """See `deleted_documents`."""


NOT_DELETED = Deletion()


class DocumentLog:
    """All methods raise BusError."""

    def __init__(self, bus: Bus, group: Group) -> None:
        self.group = group
        self._bus = bus
        self._stream = group.documents_stream
        self._reader = BatchReader(bus, self._stream)

    async def open(self) -> None:
        """Prepare to read the stream, which may be away."""
        await self._reader.open()

    # --- updates ------------------------------------------------------------------------------------------

    async def newest(self, key: DocumentKey) -> Newest:
        """Return the newest update according to the leader. Its sequence is 0 if the log is empty."""
        message = await self._bus.stored(self._stream, {"last_by_subj": document_subjects.document(*key)})
        return Newest(message["seq"], message["time"]) if message is not None else Newest()

    async def updates(self, key: DocumentKey, start: int, up_to: int) -> AsyncIterator[list[Read]]:
        """Read the log from the sequence `start` on, at least up to `up_to`, which the stream has reached.

        The newest update of a log is never removed. So if none from `up_to` on comes, an operator has removed the log.
        """
        position, attempts_left = start - 1, _ATTEMPTS_FOR_REMOVED
        while position < up_to:
            batch = await self._reader.get(
                {
                    "seq": position + 1,
                    "next_by_subj": document_subjects.document(*key),
                    "batch": _BATCH_MAX,
                    "max_bytes": _BATCH_MAX_BYTES,
                }
            )
            if batch.messages:
                yield batch.messages
                position = batch.last
            elif attempts_left:
                attempts_left -= 1
                await asyncio.sleep(_STALE_SECONDS)
            else:
                raise BusUnavailable(f"the log of a document ends before {up_to}")

    async def counts(self, shard: int) -> dict[DocumentKey, int]:
        """Return the number of updates in each log of a shard."""
        counts = await self.subjects(document_subjects.documents_of_shard(shard))
        return {DocumentKey(*document_subjects.parse_document(subject)): count for subject, count in counts.items()}

    async def names(self, room: RoomId) -> list[DocumentName]:
        """Return the names of the documents of a room that have a log, in order."""
        found = await self.subjects(document_subjects.documents_of_room(room))
        return sorted(document_subjects.parse_document(subject)[1] for subject in found)

    async def all_names(self, room: RoomId) -> list[DocumentName]:
        """Return the names of all documents of a room that have left anything in the stream."""
        found = await self.subjects(document_subjects.snapshots_of_room(room))
        return sorted({*await self.names(room), *(document_subjects.parse_snapshot(subject)[1] for subject in found)})

    async def with_versions(self, shard: int) -> set[DocumentKey]:
        """Return the documents of a shard that have versions."""
        found = await self.subjects(document_subjects.versions_of_shard(shard))
        return {DocumentKey(*document_subjects.parse_snapshot(subject)) for subject in found}

    async def subjects(self, wanted: str) -> dict[str, int]:
        """Return the number of messages of each subject that matches, according to the leader."""
        counts: dict[str, int] = {}
        while True:
            request = {"subjects_filter": wanted, "offset": len(counts)}
            info = await self._bus.api(f"STREAM.INFO.{self._stream}", request)
            found: dict[str, int] = info["state"].get("subjects") or {}
            counts |= found
            if not found or len(counts) >= info.get("total", 0):
                return counts

    # --- long edits ---------------------------------------------------------------------------------------

    async def long_edit(self, key: DocumentKey, sequence: int) -> LongEdit | None:
        """Return the long edit that an empty update in the log stands for; None if it stands for none."""
        message = await self._bus.stored(self._stream, {"seq": sequence})
        named = _headers(message).get(LONG_EDIT) if message is not None else None
        if named is None:
            return None
        try:
            return LongEdit.decode(named)
        except ValueError as error:
            log.error("the log names no edit", room=key.room, document=key.name, sequence=sequence, error=str(error))
            return None

    async def read_edit(self, key: DocumentKey, edit: LongEdit) -> bytes | None:
        """Return the update; None if a part of it is gone."""
        return await self.read_parts(document_subjects.document_edit(*key, edit.id), edit.parts)

    async def discard_edit(self, key: DocumentKey, edit: LongEdit) -> None:
        """Remove the parts of an edit that the log does not name."""
        await self.remove(document_subjects.document_edit(*key, edit.id))

    async def _remove_edits(self, key: DocumentKey, covered: Collection[str], needed: Collection[str]) -> None:
        for subject in await self.subjects(document_subjects.document_edit(*key)):
            edit = subject.rpartition(".")[2]
            if edit in covered or (edit not in needed and await self.is_abandoned(subject)):
                await self.remove(subject)

    async def is_abandoned(self, subject: str) -> bool:
        """Return whether the newest message of a subject is so old that nothing will name it any more."""
        newest = await self.last(subject)
        return newest is not None and time.time() - unix_seconds(newest.time) > _ABANDONED_SECONDS

    # --- snapshots ----------------------------------------------------------------------------------------

    async def snapshot(self, key: DocumentKey) -> Snapshot | None:
        """Return the newest snapshot; None if a part of it is gone, because a newer one has replaced it."""
        message = await self._bus.stored(self._stream, {"last_by_subj": document_subjects.document_snapshot(*key)})
        if message is None:
            return Snapshot()
        headers = _headers(message)
        sequences = [int(sequence) for sequence in filter(None, headers.get(_PARTS, "").split(","))]
        state = await self.read_parts(document_subjects.document_snapshot_part(*key), sequences)
        if state is None:
            return None
        covers = Newest(int(headers[_COVERS]), headers[_COVERS_TIME])
        return Snapshot(message["seq"], covers, state + b64decode(message.get("data", "")))

    async def has_snapshot_after(self, key: DocumentKey, sequence: int) -> bool:
        """Return whether there is a newer snapshot than the one with this sequence."""
        return await self._has_after(document_subjects.document_snapshot(*key), sequence)

    async def deletion(self, key: DocumentKey) -> Deletion:
        """Return the last deletion of a document."""
        message = await self.last(document_subjects.document_deletion(*key))
        return Deletion(message.sequence, message.data) if message is not None else NOT_DELETED

    async def has_deletion_after(self, key: DocumentKey, sequence: int) -> bool:
        return await self._has_after(document_subjects.document_deletion(*key), sequence)

    async def delete(self, key: DocumentKey, clients: bytes, *, expected: int) -> int:
        """Store that the document is deleted, and return the sequence. From then on nothing before it counts.

        `clients`: see `deleted_documents`. `expected`: the sequence of the last deletion. Raises Conflict.
        """
        headers = {EXPECTED_SEQUENCE: str(expected)}
        return await self.store(document_subjects.document_deletion(*key), clients, headers)

    async def clean(self, key: DocumentKey, deleted: int, *, with_edits: bool = True, overwrite: bool = False) -> None:
        """Remove what was stored before the document was deleted. Later updates stay.

        `with_edits`: also the parts of long edits. `overwrite`: also on the disk, where NATS leaves removed messages
        for a while. It takes longer.
        """
        stored = [
            document_subjects.document, document_subjects.document_snapshot,
            document_subjects.document_snapshot_part, document_subjects.document_versions,
        ]  # fmt: skip
        if with_edits:
            stored.append(document_subjects.document_edit)
        for subject in (of(*key) for of in stored):
            if overwrite:
                await self._overwrite(subject, before=deleted)
            await self.remove(subject, before=deleted)

    async def _overwrite(self, subject: str, *, before: int) -> None:
        position = 0
        while position < before:
            request = {"seq": position + 1, "next_by_subj": subject, "batch": _BATCH_MAX, "max_bytes": _BATCH_MAX_BYTES}
            batch = await self._reader.get(request)
            await self.overwrite([read.sequence for read in batch.messages if read.sequence < before])
            if not batch.messages:
                return
            position = batch.last

    async def overwrite(self, sequences: Iterable[int]) -> None:
        """Overwrite and remove messages. Succeeds also if they are gone."""
        for sequence in sequences:
            await erase(self._bus, self._stream, sequence)

    async def _has_after(self, subject: str, sequence: int) -> bool:
        request = {"seq": sequence + 1, "next_by_subj": subject}
        return await self._bus.stored(self._stream, request) is not None

    async def store_snapshot(self, key: DocumentKey, state: bytes, *, covers: Newest, expected: int) -> int:
        """Store a snapshot if that with the sequence `expected` is still the newest. Return its sequence.

        Raises Conflict if another replica was faster.
        """
        *pieces, last = self._pieces(state)
        parts = [await self.store(document_subjects.document_snapshot_part(*key), piece) for piece in pieces]
        headers = {
            _COVERS: str(covers.sequence),
            _COVERS_TIME: covers.time,
            _PARTS: ",".join(map(str, parts)),
            EXPECTED_SEQUENCE: str(expected),
        }
        sequence = await self.store(document_subjects.document_snapshot(*key), last, headers)
        await self.remove(document_subjects.document_snapshot(*key), before=sequence)
        await self.remove(document_subjects.document_snapshot_part(*key), before=parts[0] if parts else sequence)
        return sequence

    async def purge(
        self, key: DocumentKey, covers: Newest, *, covered: Collection[str] = (), needed: Collection[str] = ()
    ) -> int:
        """Remove the updates before the last one that the snapshot has. Return their number.

        `covered`: the ids of the long edits that the snapshot has. Their parts are removed too, and those of abandoned
        edits, but not the `needed` ones. If the last update has gone, or another one has its sequence, nothing is
        removed.
        """
        message = await self._bus.stored(self._stream, {"seq": covers.sequence}) if covers.sequence else None
        if message is None or not covers.is_same(message["seq"], message["time"]):
            return 0
        removed = await self.remove(document_subjects.document(*key), before=covers.sequence)
        await self._remove_edits(key, covered, needed)
        return removed

    # --- messages -----------------------------------------------------------------------------------------

    async def last(self, subject: str) -> Stored | None:
        """Return the newest message of a subject, according to the leader; None if there is none."""
        message = await self._bus.stored(self._stream, {"last_by_subj": subject})
        if message is None:
            return None
        return Stored(message["seq"], message["time"], b64decode(message.get("data", "")))

    async def store(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Store a message, and return its sequence. Raises Conflict if `headers` expect another one."""
        return (await self._bus.store(subject, data, headers or {}, timeout_seconds=API_TIMEOUT_SECONDS)).sequence

    async def store_parts(self, subject: str, state: bytes) -> list[int]:
        """Store something that may be too long for one message. Return the sequences of its parts."""
        return [await self.store(subject, piece) for piece in self._pieces(state)]

    async def read_parts(self, subject: str, sequences: Iterable[int]) -> bytes | None:
        """Return what was stored in parts; None if one of them is gone."""
        pieces = []
        for sequence in sequences:
            part = await self._bus.stored(self._stream, {"seq": sequence})
            if part is None or part["subject"] != subject:
                return None
            pieces.append(b64decode(part.get("data", "")))
        return b"".join(pieces)

    async def remove(self, subject: str, *, before: int = 0) -> int:
        """Remove the messages of a subject, or those before a sequence. Return their number."""
        request = {"filter": subject, **({"seq": before} if before else {})}
        answer = await self._bus.api(f"STREAM.PURGE.{self._stream}", request)
        purged: int = answer.get("purged", 0)
        return purged

    def _pieces(self, state: bytes) -> list[bytes]:
        step = min(_PART_BYTES, self._bus.max_payload_bytes // 2)
        return [state[start : start + step] for start in range(0, len(state), step)]


def unix_seconds(time: str) -> int:
    """`time`: RFC 3339."""
    return int(datetime.fromisoformat(time).timestamp())


def _headers(message: Mapping[str, Any]) -> dict[str, str]:
    """Decode the headers in an answer to `STREAM.MSG.GET`."""
    lines = b64decode(message.get("hdrs", "")).decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines if ": " in line)
