"""Edits of documents that are too long for one message, with real NATS."""

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.document_http.requests import DocumentRequests
from studyroom.gateway.documents.metrics import DocumentMetrics
from studyroom.services.documents.log import DocumentKey
from studyroom.shared.chassis.nats.bus import Conflict, TooLong
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.document_requests import Action, RequestOutcome
from studyroom.shared.contract.long_edits import LongEdit
from tests.support.documents import STREAM, Author, Gateway, Site, new_key
from tests.support.waiting import eventually

LONG = "long " * 300_000
"""1.5 MB, and NATS takes 1 MB."""


@pytest.fixture
def http(gateway: Gateway) -> DocumentRequests:
    """The part of a gateway that stores what comes over HTTP."""
    return DocumentRequests(gateway.bus, DocumentMetrics(CollectorRegistry()))


async def parts(gateway: Gateway, key: DocumentKey) -> list[int]:
    """The sequences of all parts of edits."""
    found, start = [], 1
    while message := await gateway.bus.stored(
        STREAM, {"seq": start, "next_by_subj": document_subjects.document_edit(*key)}
    ):
        found.append(message["seq"])
        start = message["seq"] + 1
    return found


async def test_a_long_edit_counts_as_a_whole_and_in_its_place(site: Site, gateway: Gateway, http: DocumentRequests):
    await site.replica()
    author, key = Author(), new_key()
    await gateway.store(key, author.write("first "))
    long = author.write(LONG)
    with pytest.raises(TooLong):
        await gateway.store(key, long)
    edit = await http.store_parts(*key, long)
    assert len(edit.parts) == 3
    assert await gateway.text(key) == "first "
    await http.store(*key, edit, None)
    await gateway.store(key, author.write("last"))
    assert len(await gateway.log(key)) == 3
    await site.replica()
    assert {await gateway.text(key) for _ in range(4)} == {f"first {LONG}last"}


async def test_the_parts_of_a_long_edit_are_removed_when_a_snapshot_has_it(
    site: Site, gateway: Gateway, http: DocumentRequests
):
    await site.replica(snapshot_updates=3)
    author, key = Author(), new_key()
    await gateway.store(key, author.write("first "))
    await http.store(*key, await http.store_parts(*key, author.write(LONG)), None)
    # Its parts are there and the log does not name them yet, while the snapshot is made.
    under_way = author.write("second ")
    later = await http.store_parts(*key, under_way)
    await gateway.text(key)

    async def removed() -> bool:
        await gateway.text(key)
        return await parts(gateway, key) == list(later.parts)

    await eventually(removed, "the parts of the edit in the snapshot are gone")
    assert len(await gateway.log(key)) == 1
    await http.store(*key, later, None)
    await site.replica()
    assert {await gateway.text(key) for _ in range(4)} == {f"first {LONG}second "}


async def test_parts_that_no_log_names_are_removed_in_time(
    site: Site, gateway: Gateway, http: DocumentRequests, monkeypatch: pytest.MonkeyPatch
):
    await site.replica(snapshot_updates=3)
    author, key = Author(), new_key()
    abandoned = await http.store_parts(*key, LONG.encode())
    discarded = await http.store_parts(*key, LONG.encode())
    await http.discard(*key, discarded)
    assert await parts(gateway, key) == list(abandoned.parts)
    monkeypatch.setattr("studyroom.services.documents.log._ABANDONED_SECONDS", -60)
    for word in ("a ", "b ", "c "):
        await gateway.store(key, author.write(word))

    async def removed() -> bool:
        await gateway.text(key)
        return not await parts(gateway, key)

    await eventually(removed, "they are gone with the next snapshot")
    assert await gateway.text(key) == "a b c "


async def test_an_edit_whose_parts_are_gone_hides_no_other(site: Site, gateway: Gateway, http: DocumentRequests):
    await site.replica()
    author, key = Author(), new_key()
    await gateway.store(key, author.write("first "))
    lost = await http.store_parts(*key, Author().write(LONG))
    await http.store(*key, lost, None)
    await http.discard(*key, lost)
    await gateway.store(key, author.write("last"))
    await site.replica()
    assert {await gateway.text(key) for _ in range(4)} == {"first last"}


async def test_nothing_is_left_of_the_long_edits_of_a_deleted_document(
    site: Site, gateway: Gateway, http: DocumentRequests
):
    await site.replica()
    author, key = Author(), new_key()
    await http.store(*key, await http.store_parts(*key, author.write(LONG)), None)
    late = await http.store_parts(*key, Author().write(LONG))
    assert (await gateway.manage(key, Action.DELETE)).head.outcome is RequestOutcome.OK
    assert await parts(gateway, key) == []
    await http.store(*key, late, None)  # it was under way
    new = Author()
    await gateway.store(key, new.write("new"))
    await site.replica()
    assert {await gateway.text(key) for _ in range(4)} == {"new"}


async def test_a_long_first_edit_is_checked_and_stored_only_if_nobody_was_faster(
    site: Site, gateway: Gateway, http: DocumentRequests
):
    await site.replica()
    key, whole = new_key(), Author().write(LONG)
    for other in (b"\xff" * len(whole), b"\x00\x00" + bytes(len(whole)), whole[: len(whole) - 100]):
        edit = await http.store_parts(*key, other)
        answer = await gateway.manage(key, Action.CREATE, edit=edit.encode())
        assert answer.head.outcome is RequestOutcome.MALFORMED
        await http.discard(*key, edit)
    edit = await http.store_parts(*key, whole)
    answer = await gateway.manage(key, Action.CREATE, edit=edit.encode())
    assert (answer.head.outcome, answer.head.sequence) == (RequestOutcome.OK, 0)
    await gateway.store(key, Author().write("faster"))
    with pytest.raises(Conflict):
        await http.store(*key, edit, None, expected=answer.head.sequence)
    assert (await gateway.manage(key, Action.CREATE, edit=edit.encode())).head.outcome is RequestOutcome.EXISTS


async def test_a_request_that_names_no_parts_is_refused(site: Site, gateway: Gateway):
    await site.replica()
    for named in ("nonsense", "16fd2706-8baf-433b-82eb-8c7fada847da", "16fd2706-8baf-433b-82eb-8c7fada847da 1,x"):
        answer = await gateway.manage(new_key(), Action.WRITE, edit=named)
        assert answer.head.outcome is RequestOutcome.MALFORMED


async def test_a_long_edit_stays_within_the_limit_of_its_document(site: Site, gateway: Gateway, http: DocumentRequests):
    await site.replica(max_bytes=2_000_000)
    key = new_key()
    await http.store(*key, await http.store_parts(*key, Author().write(LONG)), None)
    for text, outcome in ((LONG, RequestOutcome.DOCUMENT_FULL), ("short", RequestOutcome.OK)):
        edit = await http.store_parts(*key, Author().write(text))
        assert (await gateway.manage(key, Action.WRITE, edit=edit.encode())).head.outcome is outcome


async def test_a_room_has_so_many_documents_and_no_more(site: Site, gateway: Gateway):
    await site.replica(per_room_max=2)
    room, first = new_key().room, Author().write("x")
    one, two, three = (DocumentKey(room, DocumentName(name)) for name in ("one", "two", "three"))
    await gateway.store(one, first)
    assert not (await gateway.sync(two)).head.room_full
    await gateway.store(two, first)
    assert (await gateway.sync(three)).head.room_full
    assert not (await gateway.sync(three)).head.accepts_edits
    for key in (one, two):
        assert (await gateway.sync(key)).head.accepts_edits
    for action in (Action.CREATE, Action.WRITE):
        outcome = (await gateway.manage(three, action, update=first)).head.outcome
        assert outcome is RequestOutcome.TOO_MANY_DOCUMENTS
    await gateway.manage(one, Action.DELETE)
    assert (await gateway.sync(three)).head.accepts_edits
    assert (await gateway.manage(three, Action.CREATE, update=first)).head.outcome is RequestOutcome.OK


def test_a_long_edit_is_read_as_it_was_written():
    edit = LongEdit("16fd2706-8baf-433b-82eb-8c7fada847da", (7, 8, 12))
    assert LongEdit.decode(edit.encode()) == edit
    for text in ("", "x 1", f"{edit.id} ", f"{edit.id} 1,,2", f"{edit.id} {','.join(['1'] * 513)}"):
        with pytest.raises(ValueError):
            LongEdit.decode(text)
