"""Shared documents, message by message. The providers that applications use are tested in `web/client`."""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycrdt
import pytest
import websockets
from nats.js.errors import NotFoundError

from studyroom.shared.contract import document_subjects, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.headers import AUTHOR
from studyroom.shared.contract.ids import RoomId
from tests.support.editor import AUTH, AWARENESS, PERMISSION_DENIED, STEP_1, STEP_2, SYNC, UPDATE, Editor, editors
from tests.support.presence import announce, connected
from tests.support.processes import NatsServer, ServiceProcess, all_running, nats_server, running, service
from tests.support.waiting import eventually

MESSAGE_MAX_BYTES = 100_000
BYTES_PER_SECOND = 100_000_000
DEADLINE_SECONDS = 1
SLOW_BYTES = 24_000_000
"""More than the buffers of the sockets between a gateway and a client that does not read."""

SLOW_EDITORS = 20
"""Each leaves at least 64 KiB unread when it reads nothing, and all of them more than 1 MiB."""


@dataclass
class System:
    nats: NatsServer
    gateways: list[ServiceProcess]
    documents: ServiceProcess


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with running(nats_server(tmp_path_factory.mktemp("nats"))) as server:
        yield server


@pytest.fixture(scope="module")
def system(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("services")
    settings = {
        "DOCUMENT_MESSAGE_MAX_BYTES": str(MESSAGE_MAX_BYTES), "DOCUMENT_BYTES_PER_SECOND": str(BYTES_PER_SECOND),
        "DOCUMENT_DEADLINE_SECONDS": str(DEADLINE_SECONDS), "MESSAGES_PER_SECOND": "10000",
    }  # fmt: skip
    environment = {f"STUDYROOM_GATEWAY_{name}": value for name, value in settings.items()}
    others = [service(name, directory, nats.url) for name in ("provisioner", "presence")]
    documents = service("documents", directory, nats.url)
    gateways = [service("gateway", directory, nats.url, **environment) for _ in range(2)]
    with all_running(*others, documents, *gateways):
        yield System(nats, gateways, documents)


def text_of(updates: list[bytes]) -> str:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    for update in updates:
        doc.apply_update(update)
    return str(doc.get("text", type=pycrdt.Text))


def urls(system: System) -> tuple[str, str]:
    here, there = system.gateways
    return here.url, there.url


async def test_an_editor_is_synced_only_after_its_answer_and_gets_its_own_edits_back(system: System, room: str):
    here, there = urls(system)
    ann = await Editor.connect(here, room)
    ann.answers = False
    ann.write("written offline")
    await ann.begin_sync()
    await eventually(lambda: ann.count(SYNC, STEP_1) == 1, "the gateway asks for what the document lacks")
    assert ann.count(SYNC, STEP_2) == 0
    ann.answers = True
    await ann.sync()
    await eventually(lambda: ann.count(SYNC, UPDATE) >= 1, "the stored update comes back to its author")
    async with editors(room, there) as (bob,):
        assert bob.text == "written offline"
    await ann.close()


async def test_edits_that_come_while_one_is_stored_are_stored_together(system: System, room: str):
    here, there = urls(system)
    async with editors(room, here, there) as (ann, bob):
        for number in range(100):
            await ann.send(SYNC, UPDATE, ann.write(f"[{number}]"))
        await bob.has(*(f"[{number}]" for number in range(100)))
        assert bob.text == ann.text
        assert bob.count(SYNC, UPDATE) < 100


async def test_edits_of_several_authors_are_stored_together_while_documents_collect(
    system: System, tmp_path: Path, room: str
):
    collecting = {"STUDYROOM_GATEWAY_COLLECT_MIN_MS": "60"}
    with running(service("gateway", tmp_path, system.nats.url, **collecting)) as gateway:
        async with editors(room, gateway.url, gateway.url) as (ann, bob):
            for number in range(20):
                await ann.edit(f"[ann {number}]")
                await bob.edit(f"[bob {number}]")
            for editor in (ann, bob):
                await editor.sync()
                await editor.has(*(f"[{who} {number}]" for who in ("ann", "bob") for number in range(20)))
            assert ann.text == bob.text
    async with connected(system.nats.url) as bus:
        log = document_subjects.document(RoomId(room), DocumentName("notes"))
        stored = [await bus.jetstream().get_last_msg(subjects.DOCUMENTS_STREAM, log)]
        while (sequence := stored[-1].seq or 0) > 1:
            try:
                stored.append(await bus.jetstream().get_msg(subjects.DOCUMENTS_STREAM, sequence - 1))
            except NotFoundError:
                break
    authors = [(message.headers or {}).get(AUTHOR, "").split(",") for message in stored if message.subject == log]
    assert any(len(set(some)) > 1 for some in authors)


async def test_an_update_that_was_lost_comes_with_the_next_one(system: System, room: str):
    here, there = urls(system)
    async with editors(room, here, there) as (ann, bob), connected(system.nats.url) as bus:
        await ann.edit("first ")
        await bob.has("first ")
        await announce(bus, subjects.DOCUMENTS_STREAM, on=False)
        await ann.edit("lost ")
        # The gateway of the author learns from the acknowledgement that it lacks the update.
        await eventually(lambda: ann.count(SYNC, UPDATE) >= 2, "the author has it back")
        assert "lost" not in bob.text
        await announce(bus, subjects.DOCUMENTS_STREAM, on=True)
        await ann.edit("next")
        await bob.has("first ", "lost ", "next")
        assert bob.text == ann.text


async def test_an_update_that_was_lost_comes_even_if_none_follows(system: System, room: str):
    here, there = urls(system)
    async with editors(room, here, there) as (ann, bob), connected(system.nats.url) as bus:
        await ann.edit("first ")
        await bob.has("first ")
        await announce(bus, subjects.DOCUMENTS_STREAM, on=False)
        await ann.edit("lost")
        await bob.has("first ", "lost")
        await announce(bus, subjects.DOCUMENTS_STREAM, on=True)


async def test_a_slow_editor_gets_a_fresh_sync_instead_of_the_updates_that_it_has_missed(system: System, room: str):
    here, there = urls(system)
    async with editors(room, here) as (ann,):
        bob = await Editor.connect(there, room, max_queue=1)
        await bob.sync()
        bob.socket.transport.pause_reading()
        before = bob.received_bytes
        for _ in range(SLOW_BYTES // 60_000):
            await ann.edit("x" * 60_000)
            await ann.send(SYNC, UPDATE, ann.erase())
        await ann.edit("the end")
        await ann.sync()
        bob.socket.transport.resume_reading()
        await bob.has("the end")
        assert bob.text == "the end"
        assert bob.received_bytes - before < SLOW_BYTES
        assert system.gateways[1].metric("studyroom_gateway_document_fresh_syncs_total") >= 1
        await bob.close()


LONG = "x" * 6000
"""A text that a gateway keeps, to send it again."""


async def test_a_long_document_is_whole_for_everyone_who_opens_it_later(system: System, room: str):
    here, _ = urls(system)
    async with editors(room, here) as (ann,):
        await ann.edit(LONG)
        await ann.sync()
        async with editors(room, here) as (bob,):
            assert bob.text == LONG
        await ann.edit("the end")
        await ann.sync()
        stored = system.gateways[0].metric("studyroom_gateway_document_updates_stored_total")
        async with editors(room, here) as (cem,):
            assert cem.text == f"{LONG}the end"
        await ann.send(SYNC, UPDATE, ann.erase())
        await ann.sync()
        async with editors(room, here) as (dan,):
            assert dan.text == ""
        assert system.gateways[0].metric("studyroom_gateway_document_updates_stored_total") == stored + 1


async def test_nothing_of_a_long_document_comes_back_after_an_operator_has_removed_it(system: System, room: str):
    here, _ = urls(system)
    async with editors(room, here) as (ann,):
        await ann.edit(LONG)
        await ann.sync()
        async with editors(room, here) as (bob,):
            assert bob.text == LONG
    async with connected(system.nats.url) as bus:
        log = document_subjects.document(RoomId(room), DocumentName("notes"))
        await bus.jetstream().purge_stream(subjects.DOCUMENTS_STREAM, subject=log)
    async with editors(room, here) as (cem,):
        assert cem.text == ""
        await cem.edit("new")
        await cem.sync()
        async with editors(room, here) as (dan,):
            assert dan.text == "new"


async def test_while_the_documents_service_is_away_editors_who_are_synced_go_on(system: System, room: str):
    here, there = urls(system)
    async with editors(room, here, there) as (ann, bob):
        system.documents.signal(signal.SIGSTOP)
        try:
            await ann.edit("still here")
            await bob.has("still here")
            late = await Editor.connect(here, room)
            await late.begin_sync()
            await ann.edit(", and here")
            await bob.has("still here, and here")
            assert late.count(SYNC, STEP_2) == 0
        finally:
            system.documents.signal(signal.SIGCONT)
        await eventually(lambda: late.count(SYNC, STEP_2) == 1, "the late editor is synced")
        assert late.text == "still here, and here"
        await late.close()


async def test_a_gateway_that_stops_stores_its_edits_and_asks_editors_to_connect_again(
    system: System, tmp_path: Path, room: str
):
    with running(service("gateway", tmp_path, system.nats.url)) as gateway:
        ann = await Editor.connect(gateway.url, room)
        await ann.sync()
        for number in range(50):
            await ann.send(SYNC, UPDATE, ann.write(f"[{number}]"))
        gateway.signal(signal.SIGTERM)
        await ann.ended()
        assert ann.close_code == 1012
        assert gateway.wait() == 0
    async with editors(room, urls(system)[0]) as (bob,):
        # The gateway may not have read the last edits. Ann still has them, and would send them to another gateway.
        assert ann.text.startswith(bob.text)
        assert bob.text.startswith(
            text_of([contents for kind, step, contents in ann.received if (kind, step) == (SYNC, UPDATE)])
        )


async def test_a_message_that_is_too_large_closes_its_editor_alone(system: System, room: str):
    here, _ = urls(system)
    async with editors(room, here) as (ann,):
        bob = await Editor.connect(here, room)
        await bob.socket.send(bytes(MESSAGE_MAX_BYTES + 1))
        await bob.ended()
        assert bob.close_code == 1009
        await ann.edit("fine")
        await ann.sync()


async def test_text_is_not_for_documents(system: System, room: str):
    ann = await Editor.connect(urls(system)[0], room)
    await ann.socket.send("text")
    await ann.ended()
    assert ann.close_code == 1003


async def test_nobody_removes_the_awareness_of_another_editor(system: System, room: str):
    here, there = urls(system)
    state, gone = b'\x01\x07\x05\x0c{"name":"A"}', b"\x01\x07\x06\x04null"
    async with editors(room, here, there) as (ann, bob):
        await ann.socket.send(bytes((AWARENESS, len(state))) + state)
        await eventually(lambda: (AWARENESS, 0, state) in bob.received, "bob sees ann")
        await bob.socket.send(bytes((AWARENESS, len(gone))) + gone)
        late = await Editor.connect(there, room)
        await eventually(lambda: (AWARENESS, 0, state) in late.received, "a newcomer sees ann")
        await late.close()


async def test_a_malformed_update_is_refused_with_the_reason(system: System, room: str):
    async with editors(room, urls(system)[0]) as (ann,):
        await ann.send(SYNC, UPDATE, b"\xff\xff")
        await eventually(lambda: ann.count(AUTH, PERMISSION_DENIED) >= 1, "the update is refused")
        await ann.edit("fine")
        await ann.sync()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/documents/no-uuid/notes", 404), ("/documents/", 404), ("/documents/{room}/two/names", 404),
        ("/documents/{room}/dotted.name", 404), ("/documents/{room}/", 404), ("/documents/{room}/" + "n" * 65, 404),
    ],
)  # fmt: skip
async def test_a_path_that_no_document_has_is_refused(system: System, room: str, path: str, status: int):
    address = urls(system)[0].removesuffix("/ws") + path.format(room=room)
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(address)
    assert refused.value.response.status_code == status


async def test_an_operator_can_turn_documents_off(system: System, tmp_path: Path, room: str):
    with (
        running(service("gateway", tmp_path, system.nats.url, STUDYROOM_GATEWAY_DOCUMENTS="false")) as gateway,
        pytest.raises(websockets.InvalidStatus) as refused,
    ):
        await Editor.connect(gateway.url, room)
    assert refused.value.response.status_code == 404


async def test_a_client_of_hocuspocus_that_opens_no_document_is_closed(system: System, tmp_path: Path, room: str):
    with running(service("gateway", tmp_path, system.nats.url, STUDYROOM_GATEWAY_HANDSHAKE_SECONDS="1")) as gateway:
        socket = await websockets.connect(f"{gateway.url.removesuffix('/ws')}/documents/{room}")
        async with asyncio.timeout(10):
            await socket.wait_closed()
    assert socket.close_code == 4003


async def test_unread_bytes_of_editors_count_with_those_of_all_clients(system: System, tmp_path: Path, room: str):
    settings = {"STUDYROOM_GATEWAY_WRITE_BUFFERS_MAX_BYTES": str(1024 * 1024), "STUDYROOM_GATEWAY_SLOW_SECONDS": "600"}
    with running(service("gateway", tmp_path, system.nats.url, **settings)) as gateway:
        async with editors(room, urls(system)[0]) as (ann,):
            slow = [await Editor.connect(gateway.url, room, max_queue=1) for _ in range(SLOW_EDITORS)]
            for bob in slow:
                await bob.sync()
                bob.socket.transport.pause_reading()

            async def closed() -> bool:
                for _ in range(20):
                    await ann.edit("x" * 60_000)
                    await ann.send(SYNC, UPDATE, ann.erase())
                return gateway.metric("studyroom_gateway_document_connections") < SLOW_EDITORS

            await eventually(closed, "the gateway closes editors that read nothing", 30)
            for bob in slow:
                bob.socket.transport.abort()
                await bob.ended()
