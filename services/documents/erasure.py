"""Erases the documents of a room, and the names of users from what is stored of documents.

An update names the users who made it in a header, and a version names its author. The contents of a document are the
work of all its editors. They have random numbers in place of users, so without the headers nothing leads to a user.
"""

import time
from collections.abc import Collection
from datetime import datetime

from studyroom.services.documents.edits import Edits
from studyroom.services.documents.library import Library
from studyroom.services.documents.log import DocumentKey, DocumentLog, Newest
from studyroom.services.documents.versions import Versions
from studyroom.shared.chassis.nats.batches import Read
from studyroom.shared.chassis.nats.bus import BusUnavailable
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.audit import fingerprint, is_until
from studyroom.shared.contract.document_requests import AuthoredDocument, AuthoredPage
from studyroom.shared.contract.headers import AUTHOR
from studyroom.shared.contract.ids import RoomId, UserId

_PAGE_SECONDS = 2.0
"""A list ends after this time, well before the deadline of the request."""


class Erasure:
    """Erases documents of one group of shards. Methods raise BusError, and may be repeated."""

    def __init__(self, documents: DocumentLog, library: Library, edits: Edits, versions: Versions) -> None:
        self._log = documents
        self._library = library
        self._edits = edits
        self._versions = versions

    async def erase_room(self, room: RoomId, until: datetime | None) -> int:
        """Delete the documents of a room, and return how many there were. `until`: see `DocumentRequest.until`."""
        erased = 0
        for name in await self._log.all_names(room):
            key = DocumentKey(room, name)
            newest = await self._log.newest(key)
            if not newest.sequence or is_until(newest.time, until):
                await self._edits.delete(key, overwrite=True)
                erased += newest.sequence > 0
        return erased

    async def expire_versions(self, room: RoomId, until: datetime) -> int:
        """Delete the versions of a room's documents that were made up to a time, and return how many there were."""
        names = await self._log.all_names(room)
        return sum([await self._versions.expire(DocumentKey(room, name), until) for name in names])

    async def authored(self, shard: int, users: Collection[str], after: str) -> AuthoredPage:
        """Return documents of a shard that name one of these users. `after`: the `next` of the page before."""
        versioned = await self._log.with_versions(shard)
        keys = sorted({*versioned, *await self._log.counts(shard)})
        until, found = time.monotonic() + _PAGE_SECONDS, []
        for key in keys:
            if _place_of(key) <= after:
                continue
            authors = await self._versions.authors(key) if key in versioned else set()
            authors |= {author for named in (await self._named(key)).values() for author in named}
            if own := authors.intersection(users):
                found.append(AuthoredDocument(room=key.room, name=key.name, authors=sorted(own)))
            if time.monotonic() > until:
                return AuthoredPage(documents=found, next=_place_of(key))
        return AuthoredPage(documents=found, next=None)

    async def forget_authors(self, key: DocumentKey, users: Collection[str]) -> None:
        """Remove these users from the log and the versions of a document.

        A snapshot replaces the log. The newest update of a log always stays, so it must name none of these users.
        """
        await self._versions.disown(key, users)
        authored = [sequence for sequence, named in (await self._named(key)).items() if not named.isdisjoint(users)]
        if not authored:
            return
        covers, covered, needed = await self._cover(key)
        if covers.sequence in authored:
            raise BusUnavailable("the newest update names the user")
        await self._log.overwrite(sequence for sequence in authored if sequence < covers.sequence)
        await self._log.purge(key, covers, covered=covered, needed=needed)

    async def _cover(self, key: DocumentKey) -> tuple[Newest, Collection[str], Collection[str]]:
        """Store a snapshot of the whole document, and return the newest update that it has.

        Also returns the ids of the long edits that it has, and of those that it needs (see `DocumentLog.purge`).
        """
        covered: frozenset[str] = frozenset()
        async with self._library.current(key) as held:
            if held.covers != held.newest:
                state = held.document.difference()
                stored = await self._log.store_snapshot(key, state, covers=held.newest, expected=held.snapshot)
                held.snapshot, held.covers, held.updates, held.update_bytes = stored, held.newest, 0, 0
                covered, held.edits = held.edits, frozenset()
            return held.covers, covered, held.edits

    async def _named(self, key: DocumentKey) -> dict[int, set[str]]:
        """Return the fingerprints of the users whom each update in the log names, by sequence."""
        newest = await self._log.newest(key)
        found: dict[int, set[str]] = {}
        async for reads in self._log.updates(key, 1, newest.sequence):
            found |= {read.sequence: _authors_of(read) for read in reads}
        return found


def _authors_of(read: Read) -> set[str]:
    named = (read.headers or {}).get(AUTHOR, "")
    return {fingerprint(UserId(user)) for user in named.split(",") if user}


def _place_of(key: DocumentKey) -> str:
    """The place of a document in the order of a list."""
    return document_subjects.document(*key)
