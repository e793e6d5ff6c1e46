"""Has the documents service erase documents, and the names of users in what is stored of documents."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import datetime

from studyroom.gateway.document_http.requests import DocumentRequests
from studyroom.gateway.erasure.targets import Until
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, BusUnavailable
from studyroom.shared.chassis.nats.questions import Questions
from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.document_requests import (
    Action,
    AnswerParts,
    AuthoredDocument,
    AuthoredPage,
    DocumentAnswer,
    DocumentRequest,
    RequestOutcome,
)
from studyroom.shared.contract.documents import EMPTY_UPDATE
from studyroom.shared.contract.ids import RoomId

log = logs.get(__name__)

_ANSWER_SECONDS = 8.0
_AUTHORS_MAX = 2000
"""In one request, which takes 67 bytes for each."""
_ATTEMPTS, _PAUSE_SECONDS = 6, 0.5
"""A long document takes several attempts, each of which goes on where the one before was ended by its deadline."""


class DocumentErasure:
    """Methods raise BusError."""

    def __init__(self, bus: Bus, requests: DocumentRequests) -> None:
        self._requests = requests
        self._questions = Questions(bus, AnswerParts, of="documents service")

    async def erase_room(self, room: RoomId, until: Until) -> int:
        """Returns how many documents there were."""
        answer = await self._ask(
            subjects.shard_of(room), DocumentRequest(action=Action.ERASE_ROOM, room=room, until=until)
        )
        return answer.head.sequence

    async def expire_versions(self, room: RoomId, until: datetime) -> int:
        """Delete the versions of a room's documents that were made up to a time. Returns how many there were."""
        request = DocumentRequest(action=Action.EXPIRE_VERSIONS, room=room, until=until)
        return (await self._ask(subjects.shard_of(room), request)).head.sequence

    async def forget_authors(self, users: Collection[str]) -> AsyncIterator[AuthoredDocument]:
        """Each document from which some of these users were removed. `users`: fingerprints."""
        async for found in self.authored(users):
            # The newest update of a log stays there, so it must be one that names nobody.
            await self._requests.store(found.room, found.name, EMPTY_UPDATE, None)
            forget = DocumentRequest(
                action=Action.FORGET_AUTHORS, room=found.room, name=found.name, authors=found.authors
            )
            await self._ask(subjects.shard_of(found.room), forget)
            yield found

    async def authored(self, users: Collection[str]) -> AsyncIterator[AuthoredDocument]:
        """All documents whose log or versions name some of these users. `users`: fingerprints."""
        fingerprints = sorted(users)
        for start in range(0, len(fingerprints), _AUTHORS_MAX):
            some = fingerprints[start : start + _AUTHORS_MAX]
            for shard in range(subjects.SHARDS):
                async for found in self._authored(shard, some):
                    yield found

    async def _authored(self, shard: int, users: list[str]) -> AsyncIterator[AuthoredDocument]:
        after: str | None = ""
        while after is not None:
            request = DocumentRequest(action=Action.LIST_AUTHORED, authors=users, after=after)
            page = AuthoredPage.model_validate_json((await self._ask(shard, request)).body)
            for found in page.documents:
                yield found
            after = page.next

    async def _ask(self, shard: int, request: DocumentRequest) -> DocumentAnswer:
        await self._questions.open()
        attempt = 0
        while True:
            attempt += 1
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    answer = await self._questions.ask(document_subjects.documents_manage(shard), request.encode())
                if answer.head.outcome is RequestOutcome.OK:
                    return answer
                raise BusUnavailable(f"the documents service answers {answer.head.outcome}: {answer.head.reason}")
            except (BusError, TimeoutError) as error:
                if attempt == _ATTEMPTS:
                    raise BusUnavailable(f"documents: {str(error) or 'no answer in time'}") from error
                log.info("an erasure asks again", action=request.action, error=str(error) or "no answer in time")
            await asyncio.sleep(_PAUSE_SECONDS * attempt)
