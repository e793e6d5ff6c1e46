"""Carries out the requests about whole documents: lists, contents and versions."""

import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from studyroom.services.documents.computing import Computing
from studyroom.services.documents.contents import TooComplex, as_json, as_text
from studyroom.services.documents.edits import EditRefused, Edits
from studyroom.services.documents.epochs import Epochs
from studyroom.services.documents.erasure import Erasure
from studyroom.services.documents.library import Library
from studyroom.services.documents.log import DocumentKey, DocumentLog, unix_seconds
from studyroom.services.documents.restoring import restoring, size_with
from studyroom.services.documents.settings import DocumentsSettings
from studyroom.services.documents.versions import Versions, VersionsFull
from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable, StorageFull
from studyroom.shared.contract.document_requests import (
    Action,
    AnswerHead,
    AuthoredPage,
    DocumentAnswer,
    DocumentRequest,
    DocumentsPage,
    DocumentSummary,
    Format,
    RequestOutcome,
    VersionsList,
    VersionSummary,
)

_CONVERSIONS = {Format.JSON: as_json, Format.TEXT: as_text}


class Management:
    """The documents of one group of shards."""

    def __init__(
        self, bus: Bus, documents: DocumentLog, library: Library, epochs: Epochs, computing: Computing,
        settings: DocumentsSettings,
    ) -> None:  # fmt: skip
        self._log = documents
        self._library = library
        self._epochs = epochs
        self._edits = Edits(bus, documents, library, epochs, computing, settings)
        self._computing = computing
        self._settings = settings
        self._versions = Versions(documents, settings)
        self._erasure = Erasure(documents, library, self._edits, self._versions)
        self._actions: dict[Action, Callable[[DocumentRequest, DocumentKey], Awaitable[DocumentAnswer]]] = {
            Action.LIST: self._list,
            Action.READ: self._read,
            Action.DISCARD: self._discard,
            Action.DELETE: self._delete,
            Action.LIST_VERSIONS: self._list_versions,
            Action.MAKE_VERSION: self._make_version,
            Action.READ_VERSION: self._read_version,
            Action.DELETE_VERSION: self._delete_version,
            Action.RESTORE: self._restore,
            Action.ERASE_ROOM: self._erase_room,
            Action.EXPIRE_VERSIONS: self._expire_versions,
            Action.FORGET_AUTHORS: self._forget_authors,
        }

    async def answer(self, shard: int, request: DocumentRequest, update: bytes) -> DocumentAnswer:
        """`shard`: of the subject of the request. `update`: the bytes after its line. Raises BusError."""
        await self._epochs.ensure()
        if request.action is Action.LIST_AUTHORED:
            return _json(await self._erasure.authored(shard, frozenset(request.authors), request.after))
        return await self._carry_out(request, update)

    async def _carry_out(self, request: DocumentRequest, update: bytes) -> DocumentAnswer:
        """Raises BusError."""
        key = DocumentKey(request.room, request.name)
        try:
            if request.action in {Action.CREATE, Action.WRITE}:
                return await self._check(request, key, update)
            return await self._actions[request.action](request, key)
        except EditRefused as refusal:
            return _refusal(refusal.outcome, str(refusal))
        except TooComplex as error:
            return _refusal(RequestOutcome.TOO_COMPLEX, str(error))
        except VersionsFull as error:
            return _refusal(RequestOutcome.VERSIONS_FULL, str(error))
        except StorageFull:
            return _refusal(RequestOutcome.STORAGE_FULL, "the store of documents is full")

    # --- documents ----------------------------------------------------------------------------------------

    async def _list(self, request: DocumentRequest, _key: DocumentKey) -> DocumentAnswer:
        names = [name for name in await self._log.names(request.room) if name > request.after]
        page, more = names[: request.limit], len(names) > request.limit
        found = []
        for name in page:
            async with self._library.current(DocumentKey(request.room, name)) as held:
                if not held.document.is_empty:
                    size, updated_at = held.document.size_bytes, unix_seconds(held.newest.time)
                    found.append(DocumentSummary(name=name, bytes=size, updated_at=updated_at))
        return _json(DocumentsPage(documents=found, next=page[-1] if more else None))

    async def _read(self, request: DocumentRequest, key: DocumentKey) -> DocumentAnswer:
        state, sequence = await self._current(key)
        return await self._contents(state, request.format, sequence)

    async def takes_another(self, key: DocumentKey) -> bool:
        """See `Edits.takes_another`. Raises BusError."""
        return await self._edits.takes_another(key)

    async def _check(self, request: DocumentRequest, key: DocumentKey, update: bytes) -> DocumentAnswer:
        is_long = bool(request.edit)
        if is_long:
            update = await self._edits.long(key, request.edit)
        check = self._edits.check_creation if request.action is Action.CREATE else self._edits.check
        return DocumentAnswer(head=AnswerHead(sequence=await check(key, update, is_long=is_long)))

    async def _discard(self, request: DocumentRequest, key: DocumentKey) -> DocumentAnswer:
        await self._edits.discard(key, request.edit)
        return DocumentAnswer(head=AnswerHead())

    async def _delete(self, _request: DocumentRequest, key: DocumentKey) -> DocumentAnswer:
        await self._edits.delete(key)
        return DocumentAnswer(head=AnswerHead())

    async def _current(self, key: DocumentKey) -> tuple[bytes, int]:
        """Return the whole document as one update, and the sequence of the newest update that it has."""
        async with self._library.current(key) as held:
            if not self._epochs.sure:
                raise BusUnavailable("the stream of documents may be another one")
            if held.document.is_empty:
                raise EditRefused(RequestOutcome.NOT_FOUND, "the room has no such document")
            return held.document.difference(), held.newest.sequence

    async def _contents(self, state: bytes, form: Format, sequence: int) -> DocumentAnswer:
        convert = _CONVERSIONS.get(form)
        body = state if convert is None else await self._computing.run(convert, state)
        return DocumentAnswer(head=AnswerHead(sequence=sequence), body=body)

    # --- versions -----------------------------------------------------------------------------------------

    async def _list_versions(self, _request: DocumentRequest, key: DocumentKey) -> DocumentAnswer:
        return _json(VersionsList(versions=await self._versions.all(key)))

    async def _make_version(self, request: DocumentRequest, key: DocumentKey) -> DocumentAnswer:
        self._edits.check_space(0)
        deleted = (await self._log.deletion(key)).sequence
        state, _ = await self._current(key)
        version = VersionSummary(
            id=str(uuid4()),
            name=request.title,
            created_at=int(time.time()),
            author=request.author,
            author_id=request.author_id,
            bytes=len(state),
        )
        await self._versions.make(key, version, state)
        if await self._log.has_deletion_after(key, deleted):
            await self._versions.delete(key, version.id)
            raise EditRefused(RequestOutcome.NOT_FOUND, "the document was deleted")
        return _json(version)

    async def _read_version(self, request: DocumentRequest, key: DocumentKey) -> DocumentAnswer:
        return await self._contents(await self._version(request, key), request.format, 0)

    async def _delete_version(self, request: DocumentRequest, key: DocumentKey) -> DocumentAnswer:
        if not await self._versions.delete(key, request.version or ""):
            raise _no_version()
        return DocumentAnswer(head=AnswerHead())

    async def _version(self, request: DocumentRequest, key: DocumentKey) -> bytes:
        found = await self._versions.read(key, request.version or "")
        if found is None:
            raise _no_version()
        return found[1]

    async def _restore(self, request: DocumentRequest, key: DocumentKey) -> DocumentAnswer:
        earlier = await self._version(request, key)
        state, sequence = await self._current(key)
        self._edits.check_space(len(state))
        update = await self._computing.run(restoring, state, earlier)
        if len(state) + len(update) > self._settings.max_bytes:
            self._edits.check_growth(int(await self._computing.run(size_with, state, update)))
        return DocumentAnswer(head=AnswerHead(sequence=sequence), body=update)

    # --- erasure ------------------------------------------------------------------------------------------

    async def _erase_room(self, request: DocumentRequest, _key: DocumentKey) -> DocumentAnswer:
        erased = await self._erasure.erase_room(request.room, request.until)
        return DocumentAnswer(head=AnswerHead(sequence=erased))

    async def _expire_versions(self, request: DocumentRequest, _key: DocumentKey) -> DocumentAnswer:
        expired = 0 if request.until is None else await self._erasure.expire_versions(request.room, request.until)
        return DocumentAnswer(head=AnswerHead(sequence=expired))

    async def _forget_authors(self, request: DocumentRequest, key: DocumentKey) -> DocumentAnswer:
        await self._erasure.forget_authors(key, frozenset(request.authors))
        return DocumentAnswer(head=AnswerHead())


def _json(model: AuthoredPage | DocumentsPage | VersionsList | VersionSummary) -> DocumentAnswer:
    return DocumentAnswer(head=AnswerHead(), body=model.model_dump_json().encode())


def _refusal(outcome: RequestOutcome, reason: str) -> DocumentAnswer:
    return DocumentAnswer(head=AnswerHead(outcome=outcome, reason=reason[:200]))


def _no_version() -> EditRefused:
    return EditRefused(RequestOutcome.NOT_FOUND, "the document has no such version")
