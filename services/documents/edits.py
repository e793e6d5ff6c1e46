"""Checks updates that come over HTTP, which gateways store then, and deletes documents."""

from studyroom.services.documents.checking import readable
from studyroom.services.documents.computing import Computing
from studyroom.services.documents.document import Broken, Document, Malformed, is_of
from studyroom.services.documents.epochs import Epochs
from studyroom.services.documents.library import Library
from studyroom.services.documents.log import Deletion, DocumentKey, DocumentLog
from studyroom.services.documents.settings import DocumentsSettings
from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable, Conflict
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.deleted_documents import clients_of, encode_clients
from studyroom.shared.contract.document_requests import RequestOutcome
from studyroom.shared.contract.documents import DocumentStatus
from studyroom.shared.contract.long_edits import LongEdit

_CLIENT_BYTES = 12
"""The length of an encoded client id, at most."""


class EditRefused(Exception):
    def __init__(self, outcome: RequestOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Edits:
    """Methods raise BusError."""

    def __init__(
        self, bus: Bus, documents: DocumentLog, library: Library, epochs: Epochs, computing: Computing,
        settings: DocumentsSettings,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._log = documents
        self._library = library
        self._epochs = epochs
        self._computing = computing
        self._settings = settings

    def check_space(self, size_bytes: int) -> None:
        """`size_bytes`: of the document. Raises EditRefused if it takes no more edits."""
        if size_bytes >= self._settings.max_bytes:
            raise EditRefused(RequestOutcome.DOCUMENT_FULL, "the document is too large, so it takes no more edits")
        if self._epochs.full:
            raise EditRefused(RequestOutcome.STORAGE_FULL, "the store of documents is nearly full")

    def check_growth(self, size_bytes: int) -> None:
        """`size_bytes`: of the document after a long edit, which takes it far at once. Raises EditRefused."""
        most = self._settings.max_bytes
        if size_bytes > most:
            reason = f"the document would have {size_bytes} bytes, the maximum is {most}"
            raise EditRefused(RequestOutcome.DOCUMENT_FULL, reason)

    async def takes_another(self, key: DocumentKey) -> bool:
        """Return whether the room may have this document, in which nobody has written."""
        names = await self._log.names(key.room)
        return key.name in names or len(names) < self._settings.per_room_max

    async def _check_number(self, key: DocumentKey) -> None:
        """Raises EditRefused if the room may not have this document, in which nobody has written."""
        if not await self.takes_another(key):
            reason = f"the room has {self._settings.per_room_max} documents, which is the maximum"
            raise EditRefused(RequestOutcome.TOO_MANY_DOCUMENTS, reason)

    async def long(self, key: DocumentKey, named: str) -> bytes:
        """Return a long edit that a gateway has stored in parts. Raises EditRefused if it cannot be an update.

        Gateways check shorter updates themselves.
        """
        update = await self._log.read_edit(key, _named(named))
        if update is None:
            raise BusUnavailable("a part of the edit is gone")
        if not await self._computing.run(readable, update):
            raise EditRefused(RequestOutcome.MALFORMED, "not a Yjs update")
        return update

    async def discard(self, key: DocumentKey, named: str) -> None:
        """Forget a long edit that was not stored. Raises EditRefused if it names none."""
        await self._log.discard_edit(key, _named(named))

    async def check(self, key: DocumentKey, update: bytes, *, is_long: bool) -> int:
        """Return the sequence of the newest update. Raises EditRefused if the update may not be stored."""
        _applied(update)
        async with self._library.current(key) as held:
            if is_of(update, held.deletion.clients):
                raise EditRefused(RequestOutcome.DELETED, "the update is of a document that was deleted")
            size = held.document.measure()
            self.check_space(size)
            if is_long:
                self.check_growth(size + len(update))
            newest = held.newest.sequence
        if not newest:
            await self._check_number(key)
        return newest

    async def check_creation(self, key: DocumentKey, update: bytes, *, is_long: bool) -> int:
        """Return the sequence of the newest update that the log must have when the first one is stored.

        Raises EditRefused if somebody has written in the document, or if the update is not complete.
        """
        created = _applied(update)
        if created.is_empty or created.waits:
            raise EditRefused(RequestOutcome.MALFORMED, "the update is not a whole document with contents")
        async with self._library.current(key) as held:
            if not held.document.is_empty:
                raise EditRefused(RequestOutcome.EXISTS, "somebody has written in the document")
            self.check_space(len(update))
            deletion, newest = held.deletion, held.newest.sequence
        await self._check_number(key)
        if is_of(update, deletion.clients):  # a backend creates its document again with the ids of before
            await self._allow(key, deletion, created, is_long=is_long)
        return newest

    async def _allow(self, key: DocumentKey, deletion: Deletion, created: Document, *, is_long: bool) -> None:
        again = set(clients_of(created.vector))
        others = [client for client in clients_of(deletion.clients) if client not in again]
        # The parts of the new first edit are there already.
        await self._begin_again(key, others, expected=deletion.sequence, with_edits=not is_long)

    async def delete(self, key: DocumentKey, *, overwrite: bool = False) -> None:
        """Delete a document. Repeat it if it fails, because some of it may be left.

        `overwrite`: see `DocumentLog.clean`.
        """
        async with self._library.current(key) as held:
            deletion = held.deletion
            clients = dict.fromkeys((*clients_of(deletion.clients), *clients_of(held.document.vector)))
            is_new = not (held.document.is_empty and not held.newest.sequence)
        if is_new:
            await self._begin_again(key, list(clients), expected=deletion.sequence, overwrite=overwrite)
        elif deletion.sequence:
            await self._log.clean(key, deletion.sequence, overwrite=overwrite)

    async def _begin_again(
        self,
        key: DocumentKey,
        clients: list[int],
        *,
        expected: int,
        with_edits: bool = True,
        overwrite: bool = False,
    ) -> None:
        """Delete what there is. `clients`: whose updates are of the deleted document, the newest last.

        `with_edits`, `overwrite`: see `DocumentLog.clean`.
        """
        most = self._bus.max_payload_bytes // 2 // _CLIENT_BYTES
        try:
            deleted = await self._log.delete(key, encode_clients(clients[-most:]), expected=expected)
        except Conflict as error:
            raise BusUnavailable("another replica has deleted the document at the same moment") from error
        self._library.forget(key)
        status = DocumentStatus(size_bytes=0, max_bytes=self._settings.max_bytes, deleted=deleted)
        self._bus.publish(document_subjects.document_status(*key), status.encode())
        await self._log.clean(key, deleted, with_edits=with_edits, overwrite=overwrite)


def _named(text: str) -> LongEdit:
    """Raises EditRefused."""
    try:
        return LongEdit.decode(text)
    except ValueError as error:
        raise EditRefused(RequestOutcome.MALFORMED, "the request names no edit") from error


def _applied(update: bytes) -> Document:
    """Raises EditRefused."""
    document = Document()
    try:
        document.apply(update)
    except (Malformed, Broken) as error:
        raise EditRefused(RequestOutcome.MALFORMED, "not a Yjs update") from error
    return document
