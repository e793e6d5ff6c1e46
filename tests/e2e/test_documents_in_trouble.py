"""Editors of shared documents when storage is full or goes back in time, and beside an editor that sends anything."""

import asyncio
import json
import signal
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pycrdt
import pytest
import websockets
from nats.aio.client import Client as Nats

from studyroom.services.documents.log import DocumentKey
from studyroom.shared.contract import document_subjects, lib0, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.documents import EMPTY_UPDATE, SyncHead, SyncParts, SyncRequest
from studyroom.shared.contract.ids import RoomId
from tests.faults import node_editors
from tests.faults.document_rules import Contents
from tests.support.documents import Author
from tests.support.editor import AUTH, PERMISSION_DENIED, STEP_1, STEP_2, SYNC, UPDATE, Editor, editors
from tests.support.presence import connected
from tests.support.processes import NatsServer, ServiceProcess, all_running, nats_server, running, service
from tests.support.waiting import eventually

NAME = DocumentName("notes")
STREAM = subjects.DOCUMENTS_STREAM
CLOSED_TO_COME_BACK = 1012
DOCUMENT_MAX_BYTES = 50_000
SYNC_STATUS = 8


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running(nats_server(tmp_path_factory.mktemp("nats"))) as server:
        yield server


@pytest.fixture(scope="module")
def documents(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    directory, limit = tmp_path_factory.mktemp("others"), {"STUDYROOM_DOCUMENTS_MAX_BYTES": str(DOCUMENT_MAX_BYTES)}
    provisioner, presence, documents = (
        service(name, directory, nats.url, **limit) for name in ("provisioner", "presence", "documents")
    )
    with all_running(provisioner, presence, documents):
        yield documents


@pytest.fixture(scope="module")
def gateways(
    nats: NatsServer, documents: ServiceProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[ServiceProcess]]:
    assert documents.running
    directory = tmp_path_factory.mktemp("gateways")
    settings = {
        "STUDYROOM_GATEWAY_MESSAGES_PER_SECOND": "100000", "STUDYROOM_GATEWAY_DOCUMENT_BYTES_PER_SECOND": "100000000",
        "STUDYROOM_GATEWAY_DOCUMENT_DEADLINE_SECONDS": "1",
    }  # fmt: skip
    found = [service("gateway", directory, nats.url, **settings) for _ in range(2)]
    with all_running(*found):
        yield found


async def text_of_a_newcomer(gateway: ServiceProcess, room: str) -> str:
    async with editors(room, gateway.url) as (newcomer,):
        return newcomer.text


# --- storage that goes back --------------------------------------------------------------------------------


async def test_when_the_storage_goes_back_in_time_editors_bring_back_the_lost_edits(
    nats: NatsServer, gateways: list[ServiceProcess], room: str
):
    here, there = gateways
    ann, bob = [await Editor.connect(gateway.url, room) for gateway in gateways]
    for editor in (ann, bob):
        await editor.sync()
    await ann.edit("kept ")
    await bob.has("kept ")
    copy = await asyncio.to_thread(nats.copy_store)
    await ann.edit("lost by ann ")
    await bob.has("lost by ann ")
    await bob.edit("lost by bob ")
    await ann.has("lost by bob ")
    await asyncio.to_thread(nats.go_back, copy)
    for editor in (ann, bob):
        await editor.ended()
        assert editor.close_code == CLOSED_TO_COME_BACK
        await editor.close()
    # Bob comes first, with the changes of ann that his own follow.
    for editor in (bob, ann):
        again = await Editor.connect(here.url, room, doc=editor.doc)
        await again.sync()
        assert await text_of_a_newcomer(there, room) == editor.text == "kept lost by ann lost by bob "
        await again.close()


# --- storage that is full ----------------------------------------------------------------------------------


class Storage:
    """The stream of documents, made smaller and larger by an operator."""

    def __init__(self, connection: Nats, room: str) -> None:
        self._connection = connection
        self._key = DocumentKey(RoomId(room), NAME)

    async def _api(self, what: str, request: object = "") -> dict[str, Any]:
        answer = await self._connection.request(f"$JS.API.STREAM.{what}.{STREAM}", json.dumps(request).encode())
        found: dict[str, Any] = json.loads(answer.data)
        assert "error" not in found, found
        return found

    async def resize(self, *, is_full: bool) -> None:
        """Returns when the documents service knows it."""
        info = await self._api("INFO")
        size = info["state"]["bytes"] * 20 // 19 if is_full else -1
        await self._api("UPDATE", {**info["config"], "max_bytes": size})

        async def knows() -> bool:
            return (await self._head()).storage_full is is_full

        await eventually(knows, "the documents service knows it")

    async def _head(self) -> SyncHead:
        # A replica that knows another epoch looks at its stream.
        request = SyncRequest(room=self._key.room, name=self._key.name, epoch="another")
        subject = document_subjects.documents_sync(subjects.shard_of(self._key.room))
        message = await self._connection.request(subject, request.encode())
        reply = SyncParts().add(message.data)
        assert reply is not None
        return reply.head


async def test_while_the_storage_is_full_editors_get_the_reason_and_their_edits_are_stored_afterwards(
    nats: NatsServer, gateways: list[ServiceProcess], room: str
):
    here, there = gateways
    async with connected(nats.url) as connection, editors(room, here.url, there.url) as (ann, bob):
        await ann.edit("x" * 20_000)
        await bob.has("x" * 20_000)
        storage = Storage(connection, room)
        await storage.resize(is_full=True)
        try:
            late = await Editor.connect(here.url, room)
            await late.sync()
            assert late.text == ann.text, "it can still be read"
            await ann.edit("now")
            await eventually(lambda: ann.count(AUTH, PERMISSION_DENIED) == 1, "the edit is refused")
            assert any(b"full" in contents for kind, _, contents in ann.received if kind == AUTH)
            eve = await Editor.connect(here.url, room)
            eve.write("offline")
            await eve.begin_sync()
            await eventually(lambda: eve.count(AUTH, PERMISSION_DENIED) == 1, "it is not said to be synced")
            assert (eve.count(SYNC, 1), "now" in late.text) == (0, False)
        finally:
            await storage.resize(is_full=False)
        await late.begin_sync()  # so that the gateway asks now
        await eventually(lambda: eve.count(SYNC, 1) == 1, "the offline edit is stored")
        await bob.has("now", "offline")
        assert {ann.text, bob.text} == {await text_of_a_newcomer(there, room)}
        for editor in (late, eve):
            await editor.close()


async def test_a_document_takes_edits_up_to_its_limit_and_little_more(gateways: list[ServiceProcess], room: str):
    here, there = gateways
    async with editors(room, here.url, there.url) as (ann, bob):
        for number in range(4 * DOCUMENT_MAX_BYTES // 1000):
            await ann.edit(f"[{number}]".ljust(1000))

            async def has_an_answer(number: int = number) -> bool:
                return ann.count(AUTH, PERMISSION_DENIED) > 0 or ann.count(SYNC, UPDATE) > number

            await eventually(has_an_answer, "the edit is stored or refused")
            if ann.count(AUTH, PERMISSION_DENIED):
                break
        assert any(b"too large" in contents for kind, _, contents in ann.received if kind == AUTH)
        stored = await text_of_a_newcomer(there, room)
        assert ann.text.startswith(stored)
        assert DOCUMENT_MAX_BYTES - 1000 < len(stored) < DOCUMENT_MAX_BYTES * 1.2
        assert bob.text == stored


# --- a client that counts ----------------------------------------------------------------------------------


async def test_a_client_of_hocuspocus_gets_no_sync_status_before_it_is_synced(
    documents: ServiceProcess, gateways: list[ServiceProcess], room: str
):
    """Its provider sends edits of before the connection after its step 1, and takes their statuses for its own."""
    here, there = gateways
    async with editors(room, here.url, there.url) as (ann, bob):
        await ann.edit("before ")
        await bob.has("before ")
        documents.signal(signal.SIGSTOP)
        try:
            late, author = await Hocuspocus.connect(here.url, room), Author()
            await late.open()
            await late.sync(STEP_1, b"\x00")
            await late.sync(UPDATE, author.write("of before "))
            await late.sync(UPDATE, author.write("the connection"))
            await bob.has("of before the connection")
            assert late.count(SYNC_STATUS) == 0
        finally:
            documents.signal(signal.SIGCONT)
        await eventually(lambda: late.count(SYNC, STEP_1) == 1, "the gateway asks for what the document lacks")
        assert late.count(SYNC_STATUS) == 0
        await late.sync(STEP_2, author.difference(b"\x00"))
        await eventually(lambda: late.count(SYNC_STATUS) == 3, "it gets a status for the sync and each edit")
        await late.close()


async def test_an_edit_that_changes_nothing_is_answered_and_not_stored(gateways: list[ServiceProcess], room: str):
    here, _ = gateways
    client = await Hocuspocus.connect(here.url, room)
    await client.open()
    await client.sync(STEP_1, b"\x00")
    await client.sync(STEP_2, EMPTY_UPDATE)
    await eventually(lambda: client.count(SYNC, STEP_2) == 1, "the client is synced")
    stored, statuses = here.metric("studyroom_gateway_document_updates_stored_total"), client.count(SYNC_STATUS)
    await client.sync(UPDATE, EMPTY_UPDATE)
    await eventually(lambda: client.count(SYNC_STATUS) == statuses + 1, "it gets a status")
    assert here.metric("studyroom_gateway_document_updates_stored_total") == stored
    await client.close()


# --- edits that wait, and edits that are no edits ----------------------------------------------------------


async def test_an_edit_that_came_before_the_one_it_follows_is_shown_everywhere_when_that_comes(
    gateways: list[ServiceProcess], room: str
):
    here, there = gateways
    async with editors(room, here.url, there.url) as (ann, bob):
        a, b, c = (ann.write(letter) for letter in "abc")
        await ann.send(SYNC, UPDATE, a)
        await ann.send(SYNC, UPDATE, c)
        await eventually(lambda: bob.count(SYNC, UPDATE) == 2, "both have come")
        late = await Editor.connect(there.url, room)
        await late.sync()
        assert bob.text == late.text == "a"
        await ann.send(SYNC, UPDATE, b)
        for editor in (bob, late):
            await editor.has("abc")
        assert await text_of_a_newcomer(here, room) == "abc"
        await late.close()


def changed(update: bytes) -> Iterator[bytes]:
    """The update with each byte changed in some ways, and cut off at each place."""
    for place in range(len(update)):
        yield update[:place]
        for value in {0, 0xFF, update[place] ^ 1, update[place] ^ 0x10, update[place] ^ 0x80}:
            yield update[:place] + bytes((value,)) + update[place + 1 :]


class Hocuspocus:
    """A client with the framing of Hocuspocus."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self._received: list[bytes] = []
        """Each message without the name of the document."""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, url: str, room: str) -> "Hocuspocus":
        return cls(await websockets.connect(f"{url.removesuffix('/ws')}/documents/{room}"))

    async def open(self) -> None:
        """Open the document, if it is not open."""
        await self._socket.send(lib0.text(NAME) + bytes((AUTH, 0)) + lib0.text(""))

    async def sync(self, step: int, contents: bytes) -> None:
        await self._socket.send(lib0.text(NAME) + bytes((SYNC, step)) + lib0.data(contents))

    def count(self, *beginning: int) -> int:
        return sum(message.startswith(bytes(beginning)) for message in self._received)

    async def close(self) -> None:
        await self._socket.close()
        await self._reading

    async def _read(self) -> None:
        with suppress(websockets.ConnectionClosed):
            async for message in self._socket:
                assert isinstance(message, bytes)
                self._received.append(message.removeprefix(lib0.text(NAME)))


async def test_no_changed_byte_of_an_update_harms_another_editor(gateways: list[ServiceProcess], room: str):
    here, there = gateways
    mallory = Author()
    updates = [mallory.write("aé"), mallory.format(), mallory.put("k", {"x": [1, None, "y"]}), mallory.delete(0)]
    node = node_editors.NodeCrowd()
    if not node_editors.why_not():
        await node.start()
    async with editors(room, here.url, there.url) as (ann, bob):
        url = f"{there.url.removesuffix('/ws')}/documents/{room}"
        if not node_editors.why_not():
            for number, provider in enumerate(node_editors.PROVIDERS):
                node.tell(number, do="open", provider=provider, url=url, name=NAME)
        evil, other = await Editor.connect(here.url, room), await Hocuspocus.connect(here.url, room)
        for update in updates:
            await evil.send(SYNC, UPDATE, update)
            for number, damaged in enumerate(changed(update)):
                if number % 2:
                    await evil.send(SYNC, UPDATE, damaged)
                else:
                    await other.open()
                    await other.sync(UPDATE, damaged)
        await evil.sync()
        await ann.edit("the end")
        for editor in (ann, bob):
            await editor.has("the end")
            await editor.sync()
        stored = Contents.of((await newcomer(here, room)).get_update())
        copies = {"ann": Contents.of(ann.doc.get_update()), "bob": Contents.of(bob.doc.get_update())}
        shown_by_yjs: dict[str, str] = {}
        if not node_editors.why_not():
            late = len(node_editors.PROVIDERS)
            node.tell(late, do="open", provider=node_editors.PROVIDERS[0], url=url, name=NAME)
            for number, name in enumerate((*node_editors.PROVIDERS, "late")):
                copies[name], shown_by_yjs[name] = await with_the_end(node, number)
        # Yjs and pycrdt show some changes that wait for others differently, so each is compared with itself.
        assert {name: copy.shown for name, copy in copies.items()} == dict.fromkeys(copies, stored.shown)
        assert shown_by_yjs == dict.fromkeys(shown_by_yjs, shown_by_yjs.get("late"))
        assert not any(editor.has_ended for editor in (ann, bob))
        await evil.close()
        await other.close()
    await node.stop()


async def with_the_end(node: node_editors.NodeCrowd, number: int) -> tuple[Contents, str]:
    """The copy of an editor of Yjs, and how Yjs shows it."""

    async def found() -> tuple[Contents, str] | None:
        answer = await node.ask(number)
        by_yjs = node_editors.contents_of(answer).shown
        return (Contents.of(b64decode(answer["state"])), by_yjs) if "the end" in by_yjs else None

    copy: tuple[Contents, str] = await eventually(found, f"editor {number} of Yjs has the end")
    return copy


async def newcomer(gateway: ServiceProcess, room: str) -> "pycrdt.Doc[Any]":
    async with editors(room, gateway.url) as (editor,):
        return editor.doc
