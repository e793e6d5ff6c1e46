"""Versions: named states of a document that are kept until somebody deletes them.

A version is a message with its name and the sequences of its parts, which have the document as one update and are
stored first. All of them are in the stream of the document's log.
"""

from collections.abc import Collection
from datetime import datetime

from pydantic import ValidationError

from studyroom.services.documents.log import DocumentKey, DocumentLog
from studyroom.services.documents.settings import DocumentsSettings
from studyroom.shared.chassis import logs
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.audit import fingerprint
from studyroom.shared.contract.document_requests import VersionSummary
from studyroom.shared.contract.parts import JsonMessage

log = logs.get(__name__)


class VersionsFull(Exception):
    """The document has as many versions as the limits allow."""


class _Stored(JsonMessage):
    version: VersionSummary
    parts: list[int]


class Versions:
    """The versions of documents of one group of shards. Methods raise BusError."""

    def __init__(self, documents: DocumentLog, settings: DocumentsSettings) -> None:
        self._log = documents
        self._settings = settings

    async def all(self, key: DocumentKey) -> list[VersionSummary]:
        """Return the versions of a document, the oldest first."""
        found = []
        for version, is_part in map(
            document_subjects.parse_version, await self._log.subjects(document_subjects.document_versions(*key))
        ):
            if not is_part and (stored := await self._find(key, version)) is not None:
                found.append(stored)
        return [stored.version for stored in sorted(found, key=lambda stored: stored.parts)]

    async def read(self, key: DocumentKey, version: str) -> tuple[VersionSummary, bytes] | None:
        """Return a version and its contents as one update; None if there is no such version."""
        stored = await self._find(key, version)
        if stored is None:
            return None
        state = await self._log.read_parts(document_subjects.document_version_part(*key, version), stored.parts)
        return (stored.version, state) if state is not None else None

    async def make(self, key: DocumentKey, version: VersionSummary, state: bytes) -> None:
        """Store a version. Raises VersionsFull.

        Two versions that are stored at the same moment may exceed the limits by one of them.
        """
        self._check_room(await self.all(key), len(state))
        await self._remove_abandoned(key)
        parts = await self._log.store_parts(document_subjects.document_version_part(*key, version.id), state)
        stored = _Stored(version=version, parts=parts)
        await self._log.store(document_subjects.document_version(*key, version.id), stored.encode())

    async def authors(self, key: DocumentKey) -> set[str]:
        """Return the fingerprints of all users who have made versions."""
        return {fingerprint(version.author_id) for version in await self.all(key) if version.author_id is not None}

    async def disown(self, key: DocumentKey, users: Collection[str]) -> int:
        """Remove these users from the versions that they have made, and return the number of these versions."""
        authored = [(version, version.author_id) for version in await self.all(key)]
        own = [version for version, author in authored if author is not None and fingerprint(author) in users]
        for version in own:
            stored, subject = await self._find(key, version.id), document_subjects.document_version(*key, version.id)
            before = await self._log.last(subject)
            if stored is None or before is None:
                continue
            nobody = stored.version.model_copy(update={"author": "", "author_id": None})
            await self._log.store(subject, stored.model_copy(update={"version": nobody}).encode())
            await self._log.overwrite([before.sequence])
        return len(own)

    async def expire(self, key: DocumentKey, until: datetime) -> int:
        """Overwrite and remove the versions that were made up to a time, and return how many there were."""
        old = [version.id for version in await self.all(key) if version.created_at <= until.timestamp()]
        for version in old:
            stored = await self._find(key, version)
            last = await self._log.last(document_subjects.document_version(*key, version))
            if stored is not None and last is not None:
                await self._log.overwrite([*stored.parts, last.sequence])
            await self.delete(key, version)
        return len(old)

    async def delete(self, key: DocumentKey, version: str) -> bool:
        """Return whether there was such a version."""
        removed = await self._log.remove(document_subjects.document_version(*key, version))
        await self._log.remove(document_subjects.document_version_part(*key, version))
        return removed > 0

    def _check_room(self, versions: list[VersionSummary], size: int) -> None:
        most, most_bytes = self._settings.versions_max, self._settings.versions_max_bytes
        if len(versions) >= most:
            raise VersionsFull(f"the document has {len(versions)} versions, the maximum is {most}")
        total = sum(version.bytes for version in versions) + size
        if total > most_bytes:
            raise VersionsFull(f"all versions would have {total} bytes, the maximum is {most_bytes}")

    async def _find(self, key: DocumentKey, version: str) -> _Stored | None:
        message = await self._log.last(document_subjects.document_version(*key, version))
        if message is None:
            return None
        try:
            return _Stored.decode(message.data)
        except ValidationError as error:
            log.error("a stored version cannot be read", room=key.room, document=key.name, error=str(error))
            return None

    async def _remove_abandoned(self, key: DocumentKey) -> None:
        found = [
            document_subjects.parse_version(one)
            for one in await self._log.subjects(document_subjects.document_versions(*key))
        ]
        named = {version for version, is_part in found if not is_part}
        for version in {version for version, _ in found} - named:
            parts = document_subjects.document_version_part(*key, version)
            if await self._log.is_abandoned(parts):
                await self._log.remove(parts)
