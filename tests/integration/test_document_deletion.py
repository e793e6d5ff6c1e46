"""Deleted documents, and documents that are created with their first contents, with real NATS."""

import json

from studyroom.services.documents.log import DocumentLog
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.deleted_documents import clients_of, encode_clients
from studyroom.shared.contract.document_requests import Action, RequestOutcome
from studyroom.shared.contract.documents import DocumentStatus
from studyroom.shared.contract.groups import Group
from tests.support.documents import Author, Gateway, Site, new_key
from tests.support.waiting import eventually


async def test_nothing_is_left_of_a_deleted_document_and_gateways_get_to_know_it(site: Site, gateway: Gateway):
    await site.replica(snapshot_updates=2)
    await site.replica(snapshot_updates=2)
    author, key = Author(), new_key()
    statuses: list[DocumentStatus] = []
    await gateway.bus.subscribe(
        document_subjects.document_status(*key), lambda message: statuses.append(DocumentStatus.decode(message.data))
    )
    await gateway.store(key, *(author.write(letter) for letter in "abc"))
    await gateway.manage(key, Action.MAKE_VERSION, title="version")
    assert await gateway.text(key) == "abc"
    assert (await gateway.manage(key, Action.DELETE)).head.outcome is RequestOutcome.OK
    await eventually(lambda: len(statuses) == 1, "gateways get to know it")
    for _ in range(4):  # from both
        reply = await gateway.sync(key)
        assert (reply.head.deleted, reply.head.sequence, reply.vector) == (statuses[0].deleted, 0, b"\x00")
        assert clients_of(reply.deleted) == clients_of(author.vector)
    assert await gateway.log(key) == []
    assert await gateway.snapshots(key) == [statuses[0].deleted]
    assert (await gateway.manage(key, Action.DELETE)).head.outcome is RequestOutcome.OK
    assert len(statuses) == 1


async def test_an_update_that_arrives_after_the_deletion_of_its_document_is_left_out(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    await gateway.store(key, author.write("old"))
    await gateway.manage(key, Action.DELETE)
    await gateway.store(key, author.write(" late"), author.delete(0), author.difference(b"\x00"))
    assert await gateway.text(key) == ""
    assert (await gateway.manage(key, Action.READ)).head.outcome is RequestOutcome.NOT_FOUND
    new = Author()
    await gateway.store(key, new.write("new"))
    await site.replica()
    assert {await gateway.text(key) for _ in range(4)} == {"new"}


async def test_a_snapshot_that_another_replica_stores_after_the_deletion_is_ignored(site: Site, gateway: Gateway):
    author, key = Author(), new_key()
    log = DocumentLog(await site.bus("documents"), Group())
    await gateway.store(key, author.write("a"), author.write("b"))
    covers = await log.newest(key)
    await site.replica()
    await gateway.manage(key, Action.DELETE)
    await log.store_snapshot(key, author.difference(b"\x00"), covers=covers, expected=0)
    await site.replica(snapshot_updates=2)
    assert {await gateway.text(key) for _ in range(4)} == {""}
    new = Author()
    await gateway.store(key, *(new.write(letter) for letter in "new"))
    assert {await gateway.text(key) for _ in range(4)} == {"new"}

    async def replaced() -> bool:
        await gateway.sync(key)
        return len(await gateway.log(key)) == 1

    await eventually(replaced, "a snapshot of the new document takes its place")
    await site.replica()
    assert {await gateway.text(key) for _ in range(6)} == {"new"}


async def test_a_deletion_counts_when_its_replica_is_killed_before_it_has_removed_anything(
    site: Site, gateway: Gateway
):
    author, key = Author(), new_key()
    log = DocumentLog(await site.bus("documents"), Group())
    await gateway.store(key, author.write("a"), author.write("b"))
    await log.store_snapshot(key, author.difference(b"\x00"), covers=await log.newest(key), expected=0)
    await log.delete(key, encode_clients(clients_of(author.vector)), expected=0)
    await site.replica()
    assert await gateway.text(key) == ""
    new = Author()
    await gateway.store(key, new.write("new"))
    assert await gateway.text(key) == "new"
    await gateway.manage(key, Action.DELETE)  # repeated, as its caller is asked to
    assert (await gateway.log(key), await gateway.text(key)) == ([], "")


async def test_only_a_document_without_contents_may_be_created(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    first = author.write("first")
    answer = await gateway.manage(key, Action.CREATE, update=first)
    assert (answer.head.outcome, answer.head.sequence) == (RequestOutcome.OK, 0)
    later = author.write(" later")
    for update in (b"\x00\x00", later, b"\xff\xff"):
        assert (await gateway.manage(key, Action.CREATE, update=update)).head.outcome is RequestOutcome.MALFORMED
    await gateway.store(key, first)
    for update in (first, Author().write("other")):
        assert (await gateway.manage(key, Action.CREATE, update=update)).head.outcome is RequestOutcome.EXISTS


async def test_updates_of_a_deleted_document_are_refused_and_its_ids_may_be_created_again(site: Site, gateway: Gateway):
    await site.replica()
    author, other, key = Author(), Author(), new_key()
    whole = author.write("template")
    await gateway.store(key, whole, other.write("edit"))
    await gateway.manage(key, Action.DELETE)
    assert (await gateway.manage(key, Action.WRITE, update=whole)).head.outcome is RequestOutcome.DELETED
    assert (await gateway.manage(key, Action.CREATE, update=whole)).head.outcome is RequestOutcome.OK
    await gateway.store(key, whole)
    assert await gateway.text(key) == "template"
    left_out = other.difference(b"\x00")
    assert (await gateway.manage(key, Action.WRITE, update=left_out)).head.outcome is RequestOutcome.DELETED
    listed = json.loads((await gateway.manage(key, Action.LIST)).body)["documents"]
    assert [one["name"] for one in listed] == [key.name]
