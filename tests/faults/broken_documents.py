"""Services with a defect in shared documents: `python broken_documents.py <defect> gateway`, or `documents`.

Each breaks one promise, and the checker has to catch it. A service that drops updates that wait for others shows in
random rounds only now and then. Tests of such updates catch it: `tests/unit/test_document.py` and
`tests/e2e/test_documents_in_trouble.py`.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from studyroom.gateway.documents.store import DocumentStore, Publication
from studyroom.services.documents.log import DocumentKey, DocumentLog, Newest
from studyroom.services.stack.cli import main
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.headers import EXPECTED_SEQUENCE

_LATE_SECONDS = 0.3
_STALE_SECONDS = 2.0


def _replace(owner: object, name: str, function: Callable[..., Any]) -> None:
    setattr(owner, name, function)


class _Nobody:
    def stored(self, sequence: int) -> None: ...

    def failed(self) -> None: ...


def acknowledged_early() -> None:
    """The gateway acknowledges an edit before JetStream has it, as other servers of Yjs do."""
    publish = DocumentStore.publish

    def at_once(
        store: DocumentStore, room: Any, name: Any, update: bytes, author: Any, publication: Publication
    ) -> None:
        publish(store, room, name, update, author, _Nobody())
        asyncio.get_running_loop().call_soon(publication.stored, 0)

    _replace(DocumentStore, "publish", at_once)


def purged_too_far() -> None:
    """The service removes updates that its snapshot does not have."""

    async def all_of_it(log: DocumentLog, key: DocumentKey, _covers: Newest, **_edits: Any) -> int:
        await asyncio.sleep(_LATE_SECONDS)
        return await log.remove(document_subjects.document(*key), before=(await log.newest(key)).sequence)

    _replace(DocumentLog, "purge", all_of_it)


def stale_snapshots() -> None:
    """The service replaces a snapshot by one that it has made before, without looking."""
    store, store_snapshot = DocumentLog.store, DocumentLog.store_snapshot

    async def without_looking(
        log: DocumentLog, subject: str, data: bytes, headers: Mapping[str, str] | None = None
    ) -> int:
        kept = {name: value for name, value in (headers or {}).items() if name != EXPECTED_SEQUENCE}
        return await store(log, subject, data, kept)

    async def late(log: DocumentLog, key: DocumentKey, state: bytes, **more: Any) -> int:
        await asyncio.sleep(random.uniform(0, _STALE_SECONDS))
        return await store_snapshot(log, key, state, **more)

    _replace(DocumentLog, "store", without_looking)
    _replace(DocumentLog, "store_snapshot", late)


DEFECTS: dict[str, Callable[[], None]] = {
    defect.__name__: defect for defect in (acknowledged_early, purged_too_far, stale_snapshots)
}

if __name__ == "__main__":
    DEFECTS[sys.argv.pop(1)]()
    main()
