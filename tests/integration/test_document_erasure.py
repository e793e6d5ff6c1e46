"""The documents service erases rooms, and the names of users in what it has stored, with real NATS."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from studyroom.gateway.document_http.requests import DocumentRequests
from studyroom.gateway.documents.metrics import DocumentMetrics
from studyroom.services.documents.log import DocumentKey
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.audit import fingerprint
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.document_requests import (
    Action,
    AuthoredDocument,
    AuthoredPage,
    RequestOutcome,
    VersionsList,
)
from studyroom.shared.contract.documents import EMPTY_UPDATE
from studyroom.shared.contract.headers import AUTHOR
from studyroom.shared.contract.ids import UserId, new_user_id
from tests.support.documents import STREAM, TIMEOUT_SECONDS, Author, Gateway, Site, new_key
from tests.support.leftovers import files_having, having, raw_messages
from tests.support.presence import connected
from tests.support.processes import NatsServer

LONG = "long " * 300_000
"""1.5 MB, and NATS takes 1 MB in one message."""


async def store(gateway: Gateway, key: DocumentKey, update: bytes, *users: UserId) -> None:
    headers = {AUTHOR: ",".join(users)} if users else {}
    await gateway.bus.store(document_subjects.document(*key), update, headers, timeout_seconds=TIMEOUT_SECONDS)


async def authored(gateway: Gateway, key: DocumentKey, user: UserId) -> list[AuthoredDocument]:
    answer = await gateway.manage(key, Action.LIST_AUTHORED, authors=[fingerprint(user)])
    return AuthoredPage.model_validate_json(answer.body).documents


async def test_a_user_is_forgotten_and_the_document_stays_with_the_work_of_all(
    site: Site, gateway: Gateway, nats: NatsServer
):
    await site.replica()
    await site.replica()
    key, author, ann, bob = new_key(), Author(), new_user_id(), new_user_id()
    await store(gateway, key, author.write("a"), bob)
    await store(gateway, key, author.write("b"), bob, ann)
    await gateway.manage(key, Action.MAKE_VERSION, title="kept", author="Ann Uniquename", author_id=ann)
    await gateway.manage(key, Action.MAKE_VERSION, title="other", author="Bob", author_id=bob)
    await store(gateway, key, author.write("c"), ann)
    named = AuthoredDocument(room=key.room, name=key.name, authors=[fingerprint(ann)])
    assert await authored(gateway, key, ann) == [named]

    for _ in range(2):
        await store(gateway, key, EMPTY_UPDATE)
        forgotten = await gateway.manage(key, Action.FORGET_AUTHORS, authors=[fingerprint(ann)])
        assert forgotten.head.outcome is RequestOutcome.OK
    assert await authored(gateway, key, ann) == []
    assert {await gateway.text(key) for _ in range(4)} == {"abc"}
    async with connected(nats.url) as connection:
        assert having(await raw_messages(connection, STREAM), ann, "Ann Uniquename") == []
    assert files_having(nats.store, STREAM, ann, "Ann Uniquename") == []
    versions = VersionsList.model_validate_json((await gateway.manage(key, Action.LIST_VERSIONS)).body).versions
    assert [(version.name, version.author, version.author_id) for version in versions] == [
        ("kept", "", None),
        ("other", "Bob", bob),
    ]
    restored = await gateway.manage(key, Action.READ_VERSION, version=versions[0].id)
    assert restored.head.outcome is RequestOutcome.OK


async def test_a_replica_does_not_forget_a_user_whose_update_is_the_newest(site: Site, gateway: Gateway):
    """It would have to remove the update by which gateways find gaps. It asks the gateway to try again."""
    await site.replica()
    key, author, ann = new_key(), Author(), new_user_id()
    await store(gateway, key, author.write("a"), ann)
    request = {"room": key.room, "name": key.name, "authors": [fingerprint(ann)]}
    answer = await gateway.once(Action.FORGET_AUTHORS, **request)
    assert answer.head.outcome is RequestOutcome.UNAVAILABLE
    assert await gateway.text(key) == "a"


async def test_all_documents_of_an_erased_room_are_gone_also_from_the_disk(
    site: Site, gateway: Gateway, nats: NatsServer
):
    await site.replica()
    notes, author = new_key(), Author()
    plan, emptied = (notes._replace(name=DocumentName(name)) for name in ("plan", "emptied"))
    await gateway.store(notes, author.write("unique-words in notes"), author.write(" and more"))
    await gateway.manage(notes, Action.MAKE_VERSION, title="unique-title")
    await gateway.store(plan, Author().write("unique-words in the plan"))
    once = Author()
    await gateway.store(emptied, once.write("u"), once.delete(0))
    kept = new_key()
    await gateway.store(kept, Author().write("kept"))

    for erased in (3, 0):
        answer = await gateway.manage(notes, Action.ERASE_ROOM)
        assert (answer.head.outcome, answer.head.sequence) == (RequestOutcome.OK, erased)
    for key in (notes, plan, emptied):
        assert await gateway.log(key) == []
        assert await gateway.text(key) == ""
    async with connected(nats.url) as connection:
        assert having(await raw_messages(connection, STREAM), "unique-") == []
    assert files_having(nats.store, STREAM, "unique-") == []
    assert await gateway.text(kept) == "kept"


async def test_a_document_that_somebody_edited_after_the_erasure_stays(site: Site, gateway: Gateway):
    await site.replica()
    old = new_key()
    new = old._replace(name=DocumentName("new"))
    await gateway.store(old, Author().write("old"))
    until = datetime.now(UTC)
    await gateway.store(new, Author().write("new"))
    assert (await gateway.manage(old, Action.ERASE_ROOM, until=until)).head.sequence == 1
    assert (await gateway.text(old), await gateway.text(new)) == ("", "new")


async def test_a_user_is_forgotten_who_made_an_edit_in_parts(site: Site, gateway: Gateway):
    await site.replica()
    http = DocumentRequests(gateway.bus, DocumentMetrics(CollectorRegistry()))
    key, author, ann = new_key(), Author(), new_user_id()
    await store(gateway, key, author.write("first "))
    await http.store(*key, await http.store_parts(*key, author.write(LONG)), ann)
    parts = {"seq": 1, "next_by_subj": document_subjects.document_edit(*key)}
    assert await gateway.bus.stored(STREAM, parts) is not None
    await store(gateway, key, EMPTY_UPDATE)
    await gateway.manage(key, Action.FORGET_AUTHORS, authors=[fingerprint(ann)])
    assert await authored(gateway, key, ann) == []
    assert await gateway.bus.stored(STREAM, parts) is None
    await site.replica()
    assert {await gateway.text(key) for _ in range(4)} == {f"first {LONG}"}


async def test_an_edit_in_parts_is_gone_with_its_room_also_from_the_disk(
    site: Site, gateway: Gateway, nats: NatsServer
):
    await site.replica()
    http = DocumentRequests(gateway.bus, DocumentMetrics(CollectorRegistry()))
    key, author = new_key(), Author()
    await http.store(*key, await http.store_parts(*key, author.write("unique-part " + LONG)), None)
    assert files_having(nats.store, STREAM, "unique-part")
    await gateway.manage(key, Action.ERASE_ROOM)
    assert files_having(nats.store, STREAM, "unique-part") == []
    assert await gateway.text(key) == ""
