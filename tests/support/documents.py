"""Authors of shared documents, and what readers see of their updates."""

import asyncio
from typing import Any
from uuid import uuid4

import pycrdt
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from studyroom.services.documents.log import DocumentKey
from studyroom.services.documents.service import Documents
from studyroom.services.documents.settings import DocumentsSettings
from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.chassis.nats.questions import Questions
from studyroom.shared.chassis.settings import NatsSettings, ProcessSettings, StorageSettings
from studyroom.shared.chassis.spec import Chassis
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.document_requests import (
    Action,
    AnswerParts,
    DocumentAnswer,
    DocumentRequest,
    RequestOutcome,
)
from studyroom.shared.contract.documents import EMPTY_VECTOR, Outcome, SyncParts, SyncReply, SyncRequest
from studyroom.shared.contract.headers import AUTHOR
from studyroom.shared.contract.ids import RoomId, new_user_id
from tests.support.waiting import eventually

TIMEOUT_SECONDS = 10.0
STREAM = subjects.DOCUMENTS_STREAM


class Author:
    """A client of Yjs. Each change returns its update."""

    def __init__(self) -> None:
        self._doc: Any = pycrdt.Doc()
        self._text = self._doc.get("text", type=pycrdt.Text)
        self._map = self._doc.get("map", type=pycrdt.Map)
        self._updates: list[bytes] = []
        self._doc.observe(lambda event: self._updates.append(event.update))

    def write(self, text: str) -> bytes:
        """Write at the end."""
        self._text += text
        return self._last()

    def delete(self, index: int) -> bytes:
        """Delete one character."""
        del self._text[index : index + 1]
        return self._last()

    def replace(self, text: str) -> bytes:
        """Put a text in place of everything."""
        with self._doc.transaction():
            self._text.clear()
            self._text += text
        return self._last()

    def format(self) -> bytes:
        """Make the first character bold."""
        self._text.format(0, 1, {"bold": True})
        return self._last()

    def put(self, key: str, value: object) -> bytes:
        self._map[key] = value
        return self._last()

    def receive(self, update: bytes) -> None:
        self._doc.apply_update(update)

    @property
    def text(self) -> str:
        return str(self._text)

    @property
    def vector(self) -> bytes:
        vector: bytes = self._doc.get_state()
        return vector

    def difference(self, vector: bytes) -> bytes:
        """Everything that a document with this state vector lacks, as one update."""
        update: bytes = self._doc.get_update(vector)
        return update

    def _last(self) -> bytes:
        return self._updates[-1]


def text_of(*updates: bytes) -> str:
    """The text that a client shows after these updates."""
    reader = Author()
    for update in updates:
        reader.receive(update)
    return reader.text


class Gateway:
    """Stores updates and asks for documents, as a gateway does."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._syncs = Questions(bus, SyncParts, of="documents service")
        self._managing = Questions(bus, AnswerParts, of="documents service")

    async def open(self) -> None:
        await self._syncs.open()
        await self._managing.open()

    async def store(self, key: DocumentKey, *updates: bytes) -> int:
        """Store updates, and return the sequence of the last one."""
        sequence = 0
        for update in updates:
            headers = {AUTHOR: new_user_id()}
            stored = await self.bus.store(
                document_subjects.document(*key), update, headers, timeout_seconds=TIMEOUT_SECONDS
            )
            sequence = stored.sequence
        return sequence

    async def ask(
        self, key: DocumentKey, vector: bytes = EMPTY_VECTOR, *, epoch: str = "", position: int = 0
    ) -> SyncReply:
        """The answer of one replica, with any outcome."""
        request = SyncRequest(room=key.room, name=key.name, epoch=epoch, position=position, knows_deletions=True)
        subject = document_subjects.documents_sync(subjects.shard_of(key.room))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._syncs.ask(subject, request.encode(vector))

    async def manage(self, key: DocumentKey, action: Action, *, update: bytes = b"", **request: Any) -> DocumentAnswer:
        """The first answer of a replica that could do it."""

        async def answered() -> DocumentAnswer | None:
            asked = DocumentRequest(action=action, room=key.room, name=key.name, **request)
            answer = await self._manage(asked, update)
            return answer if answer.head.outcome is not RequestOutcome.UNAVAILABLE else None

        answer: DocumentAnswer = await eventually(answered, "a replica answers")
        return answer

    async def once(self, action: Action, **request: Any) -> DocumentAnswer:
        """The answer of one replica, with any outcome."""
        return await self._manage(DocumentRequest(action=action, **request), b"")

    async def _manage(self, request: DocumentRequest, update: bytes) -> DocumentAnswer:
        subject = document_subjects.documents_manage(subjects.shard_of(request.room))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._managing.ask(subject, request.encode(update))

    async def restore(self, key: DocumentKey, version: str) -> None:
        await self.store(key, (await self.manage(key, Action.RESTORE, version=version)).body)

    async def sync(self, key: DocumentKey, vector: bytes = EMPTY_VECTOR) -> SyncReply:
        """The first answer with the document."""

        async def answered() -> SyncReply | None:
            reply = await self.ask(key, vector)
            return reply if reply.head.outcome is Outcome.OK else None

        reply: SyncReply = await eventually(answered, "a replica answers")
        return reply

    async def text(self, key: DocumentKey) -> str:
        return text_of((await self.sync(key)).difference)

    async def log(self, key: DocumentKey) -> list[int]:
        """The sequences of the updates in the log."""
        return await self._sequences(document_subjects.document(*key))

    async def snapshots(self, key: DocumentKey) -> list[int]:
        """The sequences of the messages of snapshots."""
        return await self._sequences(
            f"{document_subjects.document_snapshot(*key)}.>", document_subjects.document_snapshot(*key)
        )

    async def _sequences(self, *wanted: str) -> list[int]:
        found: list[int] = []
        for subject in wanted:
            start = 1
            while message := await self.bus.stored(STREAM, {"seq": start, "next_by_subj": subject}):
                found.append(message["seq"])
                start = message["seq"] + 1
        return sorted(found)


class Site:
    """Replicas and gateways on one NATS, each with a connection of its own."""

    def __init__(self, url: str, tasks: Tasks, *, with_users: bool = False) -> None:
        """`with_users`: each connection is that of the NATS user of its name, as in production."""
        self._url = url
        self._with_users = with_users
        self._tasks = tasks
        self._buses: list[Bus] = []

    async def bus(self, name: str) -> Bus:
        user, password = (name, SecretStr(f"secret-of-{name}")) if self._with_users else (None, None)
        settings = NatsSettings(url=(self._url,), user=user, password=password)
        bus = Bus(settings, BusMetrics(CollectorRegistry()), name=name)
        await bus.connect()
        self._buses.append(bus)
        return bus

    async def gateway(self) -> Gateway:
        gateway = Gateway(await self.bus("gateway"))
        await gateway.open()
        return gateway

    async def replica(self, **settings: Any) -> Documents:
        """A replica that answers. It surveys the logs once an hour, unless the settings say otherwise."""
        own = DocumentsSettings(**{"survey_seconds": 3600, **settings})
        chassis = Chassis("documents", ProcessSettings(), await self.bus("documents"), self._tasks, CollectorRegistry())
        replica = Documents(chassis, {DocumentsSettings: own, StorageSettings: StorageSettings()})
        await replica.start()
        await eventually(lambda: not replica.not_ready(), "the replica is ready")
        return replica

    async def close(self) -> None:
        await self._tasks.stop()
        for bus in self._buses:
            await bus.close()


def new_key() -> DocumentKey:
    return DocumentKey(RoomId(str(uuid4())), DocumentName("notes"))
