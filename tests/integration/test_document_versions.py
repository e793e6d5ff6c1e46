"""Lists, contents and versions of documents, as the documents service answers gateways, with real NATS."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from studyroom.services.documents.computing import Computing
from studyroom.services.documents.log import DocumentKey, DocumentLog
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.document_requests import Action, Format, RequestOutcome
from studyroom.shared.contract.groups import Group
from tests.support.documents import Author, Gateway, Site, new_key
from tests.support.processes import deployed_nats_server, running


async def make(gateway: Gateway, key: DocumentKey, name: str = "first draft") -> str:
    answer = await gateway.manage(key, Action.MAKE_VERSION, title=name, author="Ann")
    assert answer.head.outcome is RequestOutcome.OK, answer.head.reason
    version: str = json.loads(answer.body)["id"]
    return version


async def versions(gateway: Gateway, key: DocumentKey) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((await gateway.manage(key, Action.LIST_VERSIONS)).body)["versions"]
    return listed


async def text_of_version(gateway: Gateway, key: DocumentKey, version: str) -> str:
    return (await gateway.manage(key, Action.READ_VERSION, version=version, format=Format.TEXT)).body.decode()


# --- documents ---------------------------------------------------------------------------------------------


async def test_the_documents_of_a_room_are_listed_page_by_page_and_no_others(site: Site, gateway: Gateway):
    await site.replica()
    room = new_key().room
    names = [f"doc-{number}" for number in range(5)]
    for name in reversed(names):
        await gateway.store(DocumentKey(room, DocumentName(name)), Author().write("x"))
    await gateway.store(new_key(), Author().write("x"))
    found, after = [], ""
    while True:
        answer = await gateway.manage(DocumentKey(room, DocumentName("any")), Action.LIST, after=after, limit=2)
        page = json.loads(answer.body)
        found += [(document["name"], document["bytes"]) for document in page["documents"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert [name for name, _ in found] == names
    assert all(size > 10 for _, size in found)


async def test_a_document_is_read_in_each_format(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    sequence = await gateway.store(key, author.write("hello"))
    update = await gateway.manage(key, Action.READ)
    assert (update.head.sequence, update.body) == (sequence, author.difference(b"\x00"))
    assert (await gateway.manage(key, Action.READ, format=Format.TEXT)).body == b"hello"
    assert (await gateway.manage(key, Action.READ, format=Format.JSON)).body == b'{"text":"hello"}'
    assert (await gateway.manage(new_key(), Action.READ)).head.outcome is RequestOutcome.NOT_FOUND


def process_of(*_inputs: bytes) -> bytes:
    return str(os.getpid()).encode()


def endless(*_inputs: bytes) -> bytes:
    while True:
        pass


async def test_work_on_long_documents_does_not_stop_the_service_and_ends_with_its_request():
    work, long = Computing(), bytes(100_000)
    assert await work.run(process_of, b"short") == str(os.getpid()).encode()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await work.run(endless, long)
    assert await work.run(process_of, long) != str(os.getpid()).encode()


async def test_long_documents_are_converted_and_restored_too(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    await gateway.store(key, author.write("x" * 600_000))
    version = await make(gateway, key)
    await gateway.store(key, *(author.delete(0) for _ in range(3)))
    assert len((await gateway.manage(key, Action.READ, format=Format.TEXT)).body) == 599_997
    await gateway.restore(key, version)
    assert len(await gateway.text(key)) == 600_000


# --- versions ----------------------------------------------------------------------------------------------


async def test_a_version_keeps_the_document_as_it_was_and_every_replica_knows_it(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    await gateway.store(key, author.write("first"))
    first = await make(gateway, key)
    await gateway.store(key, author.write(" second"))
    second = await make(gateway, key, "second draft")
    await site.replica()
    for _ in range(4):
        listed = await versions(gateway, key)
        assert [(one["id"], one["name"], one["author"]) for one in listed] == [
            (first, "first draft", "Ann"), (second, "second draft", "Ann"),
        ]  # fmt: skip
        assert await text_of_version(gateway, key, first) == "first"
        assert await text_of_version(gateway, key, second) == "first second"
    assert await versions(gateway, new_key()) == []


async def test_a_version_is_restored_by_an_edit_and_the_history_goes_on(site: Site, gateway: Gateway):
    await site.replica(snapshot_updates=2)
    author, key = Author(), new_key()
    await gateway.store(key, author.write("abc"))
    version = await make(gateway, key)
    await gateway.store(key, author.delete(0), author.delete(0), author.write("d"), author.put("k", 1.0))
    before = await make(gateway, key, "before")
    await gateway.restore(key, version)
    assert (await gateway.manage(key, Action.READ, format=Format.JSON)).body == b'{"text":"abc"}'
    await gateway.restore(key, before)
    assert (await gateway.manage(key, Action.READ, format=Format.JSON)).body == b'{"map":{"k":1},"text":"cd"}'
    assert len(await versions(gateway, key)) == 2
    # An editor that was offline merges what was restored.
    author.receive((await gateway.sync(key, author.vector)).difference)
    assert author.text == "cd"


async def test_a_version_that_is_too_long_for_a_message_has_parts(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    await gateway.store(key, *(author.write(letter * 400_000) for letter in "abc"))
    version = await make(gateway, key)
    assert await text_of_version(gateway, key, version) == author.text


async def test_a_deleted_version_is_gone_with_its_parts(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    await gateway.store(key, author.write("abc"))
    version, other = await make(gateway, key), await make(gateway, key)
    assert (await gateway.manage(key, Action.DELETE_VERSION, version=version)).head.outcome is RequestOutcome.OK
    for action in (Action.DELETE_VERSION, Action.READ_VERSION, Action.RESTORE):
        assert (await gateway.manage(key, action, version=version)).head.outcome is RequestOutcome.NOT_FOUND
    assert [one["id"] for one in await versions(gateway, key)] == [other]
    assert len(await gateway.snapshots(key)) == 2
    assert await gateway.text(key) == "abc"


@pytest.mark.parametrize("limit", [{"versions_max": 2}, {"versions_max_bytes": 1024}], ids=["number", "bytes"])
async def test_versions_are_bounded_and_none_is_lost_for_a_new_one(site: Site, gateway: Gateway, limit: dict[str, int]):
    await site.replica(**limit)
    author, key = Author(), new_key()
    await gateway.store(key, author.write("a" * 450))
    kept = [await make(gateway, key) for _ in range(2)]
    answer = await gateway.manage(key, Action.MAKE_VERSION, title="one too many")
    assert answer.head.outcome is RequestOutcome.VERSIONS_FULL
    assert {one["id"] for one in await versions(gateway, key)} == set(kept)
    await gateway.manage(key, Action.DELETE_VERSION, version=kept[0])
    await make(gateway, key)


async def test_a_replica_that_is_killed_while_it_stores_a_version_leaves_nothing_that_counts(
    site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
):
    await site.replica()
    author, key, log = Author(), new_key(), DocumentLog(await site.bus("documents"), Group())
    await gateway.store(key, author.write("abc"))
    parts = document_subjects.document_version_part(*key, str(uuid4()))
    await log.store(parts, b"half of it")
    assert await versions(gateway, key) == []
    await make(gateway, key)
    assert await log.last(parts) is not None  # another replica may still be at work
    monkeypatch.setattr("studyroom.services.documents.log._ABANDONED_SECONDS", -1)
    await make(gateway, key)
    assert await log.last(parts) is None
    assert len(await versions(gateway, key)) == 2


async def test_a_document_that_does_not_exist_has_no_version(site: Site, gateway: Gateway):
    await site.replica()
    answer = await gateway.manage(new_key(), Action.MAKE_VERSION, title="nothing")
    assert answer.head.outcome is RequestOutcome.NOT_FOUND


async def test_other_bytes_are_refused_as_a_request(site: Site, gateway: Gateway):
    await site.replica()
    message = await gateway.bus.request(document_subjects.documents_manage(3), b"{}\n", timeout_seconds=5)
    assert b'"outcome":"invalid"' in message.data


async def test_the_users_of_nats_may_do_all_of_this(tmp_path: Path, tasks: Tasks):
    with running(deployed_nats_server(tmp_path)) as server:
        site = Site(server.url, tasks, with_users=True)
        try:
            await ensure(await site.bus("provisioner"), specifications(StorageSettings()))
            await site.replica()
            gateway, author, key = await site.gateway(), Author(), new_key()
            await gateway.store(key, *(author.write(letter * 400_000) for letter in "ab"))
            version = await make(gateway, key)
            await gateway.store(key, author.delete(0))
            await gateway.restore(key, version)
            assert len(await gateway.text(key)) == 800_000
            await gateway.manage(key, Action.DELETE_VERSION, version=version)
            assert await versions(gateway, key) == []
        finally:
            await site.close()
