"""The documents service: synced documents, snapshots and purges, with real NATS."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from studyroom.services.documents import log as document_log
from studyroom.services.documents.epochs import Epochs
from studyroom.services.documents.library import Library
from studyroom.services.documents.log import DocumentKey, DocumentLog, Newest
from studyroom.services.provisioner.streams import ensure, specifications
from studyroom.shared.chassis.nats.bus import Bus, Conflict
from studyroom.shared.chassis.settings import StorageSettings
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.documents import EMPTY_VECTOR, DocumentStatus, Outcome
from studyroom.shared.contract.groups import Group
from studyroom.shared.contract.headers import LAST_SEQUENCE, SEQUENCE
from tests.support.documents import STREAM, Author, Gateway, Site, new_key, text_of
from tests.support.processes import NatsServer, deployed_nats_server, running
from tests.support.waiting import eventually

LOST = 20
"""Updates that are in the lost tail."""


async def snapshot_of(gateway: Gateway, key: DocumentKey, *, messages: int = 1, looking: Bus | None = None) -> None:
    """Wait until the log has only the newest update, and the snapshot that many messages.

    `looking`: the connection that may look at the stream, if the gateway may not.
    """
    gateway = Gateway(looking) if looking is not None else gateway

    async def done() -> bool:
        return len(await gateway.log(key)) == 1 and len(await gateway.snapshots(key)) == messages

    await eventually(done, "a snapshot covers the log")


# --- answers -----------------------------------------------------------------------------------------------


async def test_a_document_that_nobody_has_edited_is_empty(site: Site, gateway: Gateway):
    await site.replica()
    reply = await gateway.sync(new_key())
    assert (reply.head.sequence, text_of(reply.difference), reply.head.accepts_edits) == (0, "", True)


async def test_an_answer_has_every_stored_update_and_names_the_last(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    for letter in "abc":
        sequence = await gateway.store(key, author.write(letter))
        reply = await gateway.sync(key)
        assert (reply.head.sequence, text_of(reply.difference)) == (sequence, author.text)
    assert reply.vector == author.vector
    assert len((await gateway.sync(key, author.vector)).difference) == 2


async def test_documents_of_a_room_are_apart(site: Site, gateway: Gateway):
    await site.replica()
    one = new_key()
    other = DocumentKey(one.room, DocumentName("other-notes"))
    await gateway.store(one, Author().write("one"))
    await gateway.store(other, Author().write("other"))
    assert (await gateway.text(one), await gateway.text(other)) == ("one", "other")


async def test_stored_updates_are_republished_with_the_sequence_before_them(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    received: list[tuple[int, int]] = []

    def take(message: Any) -> None:
        received.append((int(message.headers[LAST_SEQUENCE]), int(message.headers[SEQUENCE])))

    await gateway.bus.subscribe(document_subjects.document_events(*key), take)
    stored = [await gateway.store(key, author.write(letter)) for letter in "abc"]
    await eventually(lambda: len(received) == 3, "all updates arrive")
    assert received == [(0, stored[0]), (stored[0], stored[1]), (stored[1], stored[2])]


async def test_two_replicas_give_the_same_answer(site: Site, gateway: Gateway):
    for _ in range(2):
        await site.replica()
    author, key = Author(), new_key()
    for letter in "abcdefgh":
        sequence = await gateway.store(key, author.write(letter))
        for _ in range(4):
            reply = await gateway.sync(key)
            assert (reply.head.sequence, text_of(reply.difference)) == (sequence, author.text)


async def test_many_gateways_may_ask_at_once(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    await gateway.store(key, *(author.write("x") for _ in range(300)))
    replies = await asyncio.gather(*(gateway.ask(key) for _ in range(50)))
    assert {text_of(reply.difference) for reply in replies} == {author.text}


async def test_a_long_answer_takes_several_messages(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    await gateway.store(key, *(author.write(letter * 400_000) for letter in "abcdef"))
    reply = await gateway.sync(key)
    assert text_of(reply.difference) == author.text
    assert reply.head.parts == 3


@pytest.mark.parametrize("data", [b"", b"{}\n", b"\xff\n\x00"])
async def test_other_bytes_are_refused_as_a_request(site: Site, gateway: Gateway, data: bytes):
    await site.replica()
    message = await gateway.bus.request(document_subjects.documents_sync(3), data, timeout_seconds=5)
    assert b'"outcome":"invalid"' in message.data


async def test_an_update_that_waits_is_handed_on(site: Site, gateway: Gateway):
    await site.replica(snapshot_updates=2)
    author, key = Author(), new_key()
    a, b, c = (author.write(letter) for letter in "abc")
    await gateway.store(key, a, c)
    assert text_of((await gateway.sync(key)).difference, b) == "abc"
    await snapshot_of(gateway, key)
    await site.replica()
    for _ in range(4):  # from both
        assert text_of((await gateway.sync(key)).difference, b) == "abc"
    await gateway.store(key, b)
    assert await gateway.text(key) == "abc"


async def test_a_stored_update_that_is_damaged_hides_no_other(site: Site, gateway: Gateway):
    await site.replica()
    author, key = Author(), new_key()
    a, b = author.write("a"), author.write("b")
    await gateway.store(key, a)
    assert await gateway.text(key) == "a"
    await gateway.store(key, b"\xff\xff\xff", b[:-2], b)
    assert await gateway.text(key) == "ab"
    await site.replica()
    assert {await gateway.text(key) for _ in range(4)} == {"ab"}


async def test_with_any_byte_changed_stored_updates_hide_no_other_and_all_replicas_agree(site: Site, gateway: Gateway):
    author, key = Author(), new_key()
    updates = [author.write("aé"), author.put("k", {"x": [1, None]}), author.delete(0)]
    await site.replica(snapshot_updates=40)
    for update in updates:
        damaged = [
            update[:place] + bytes((update[place] ^ 0x11,)) + update[place + 1 :] for place in range(len(update))
        ]
        await gateway.store(key, update, *damaged, *(update[:place] for place in range(len(update))))
        await gateway.sync(key)  # so that some of it becomes a snapshot
    await gateway.store(key, Author().write("the end"))
    for _ in range(2):
        await site.replica()
    texts = {await gateway.text(key) for _ in range(9)}
    assert len(texts) == 1
    assert "the end" in texts.pop()


async def test_the_users_of_nats_may_do_all_of_this(tmp_path: Path, tasks: Tasks):
    with running(deployed_nats_server(tmp_path)) as server:
        site = Site(server.url, tasks, with_users=True)
        try:
            await ensure(await site.bus("provisioner"), specifications(StorageSettings()))
            gateway, author, key = await site.gateway(), Author(), new_key()
            statuses: list[bytes] = []
            await gateway.bus.subscribe(
                document_subjects.document_events(*key), lambda message: statuses.append(message.data)
            )
            await gateway.store(key, *(author.write(letter * 400_000) for letter in "abc"))
            await site.replica(snapshot_updates=3, max_bytes=100_000, survey_seconds=0.5)
            assert await gateway.text(key) == author.text
            await snapshot_of(gateway, key, messages=3, looking=await site.bus("documents"))
            await eventually(lambda: any(b"max_bytes" in data for data in statuses), "the status arrives")
        finally:
            await site.close()


# --- snapshots ---------------------------------------------------------------------------------------------


async def test_a_long_log_becomes_a_snapshot_and_the_newest_update(site: Site, gateway: Gateway):
    await site.replica(snapshot_updates=10)
    author, key = Author(), new_key()
    newest = await gateway.store(key, *(author.write(letter) for letter in "abcdefghij"))
    await gateway.sync(key)
    await snapshot_of(gateway, key)
    assert await gateway.log(key) == [newest]
    await gateway.store(key, author.write("k"))
    fresh = await site.replica()
    assert {await gateway.text(key) for _ in range(6)} == {author.text}
    assert fresh.not_ready() == []


async def test_a_survey_finds_long_logs_that_nobody_asks_for(site: Site, gateway: Gateway):
    author, key = Author(), new_key()
    await gateway.store(key, *(author.write(letter) for letter in "abcdefghij"))
    await site.replica(snapshot_updates=5, survey_seconds=0.5)
    await snapshot_of(gateway, key)
    assert await gateway.text(key) == author.text


async def test_a_snapshot_that_is_too_long_for_a_message_has_parts(site: Site, gateway: Gateway):
    await site.replica(snapshot_updates=3)
    author, key = Author(), new_key()
    await gateway.store(key, *(author.write(letter * 400_000) for letter in "abc"))
    await gateway.sync(key)
    await snapshot_of(gateway, key, messages=3)
    await site.replica(snapshot_updates=3)
    assert {await gateway.text(key) for _ in range(4)} == {author.text}
    # The next one replaces all of its parts.
    await gateway.store(key, *(author.delete(0) for _ in range(3)))
    await gateway.sync(key)
    await snapshot_of(gateway, key, messages=3)
    assert await gateway.text(key) == author.text


async def test_a_service_that_is_killed_between_snapshot_and_purge_loses_and_doubles_nothing(
    site: Site, gateway: Gateway
):
    author, key = Author(), new_key()
    log = DocumentLog(await site.bus("documents"), Group())
    newest = await gateway.store(key, *(author.write(letter) for letter in "abcdef"))
    first = await site.replica()
    state = (await gateway.sync(key)).difference
    await log.store_snapshot(key, state, covers=await log.newest(key), expected=0)
    assert len(await gateway.log(key)) == 6
    assert await gateway.text(key) == "abcdef"
    await first.drain()
    await site.replica(snapshot_updates=3, survey_seconds=0.5)
    assert await gateway.text(key) == "abcdef"
    await snapshot_of(gateway, key)
    assert await gateway.log(key) == [newest]
    assert await gateway.text(key) == "abcdef"


async def test_the_second_of_two_snapshots_of_the_same_log_is_refused(site: Site, gateway: Gateway):
    author, key = Author(), new_key()
    log = DocumentLog(await site.bus("documents"), Group())
    await gateway.store(key, author.write("a"))
    newest = await log.newest(key)
    await log.store_snapshot(key, author.write("b"), covers=newest, expected=0)
    with pytest.raises(Conflict):
        await log.store_snapshot(key, author.write("c"), covers=newest, expected=0)


class Interrupted(DocumentLog):
    """Reads two updates at a time. After the first two, another replica replaces the log by a snapshot."""

    interrupt: Any = None

    async def updates(self, key: DocumentKey, start: int, up_to: int) -> AsyncIterator[Any]:
        async for reads in super().updates(key, start, up_to):
            yield reads
            interrupt, self.interrupt = self.interrupt, None
            if interrupt is not None:
                await interrupt()


async def test_a_short_document_leaves_memory_when_nobody_asks_for_it_and_is_read_again(site: Site, gateway: Gateway):
    bus = await site.bus("documents")
    log = DocumentLog(bus, Group())
    await log.open()
    library = Library(log, Epochs(bus, Group(), lambda: None), cache_max_bytes=10_000_000)
    short, long_one = new_key(), new_key()
    for key, text in ((short, "short"), (long_one, "x" * 20_000)):
        await gateway.store(key, Author().write(text))
        async with library.current(key):
            pass
    assert library.drop_idle(time.monotonic()) == 0
    async with library.current(short):
        assert library.drop_idle(time.monotonic() + 60) == 0, "it is in use"
    assert library.drop_idle(time.monotonic() + 60) == 1
    assert len(library) == 1
    async with library.current(short) as held:
        assert text_of(held.document.difference()) == "short"


async def test_all_but_a_few_short_documents_rest_and_take_edits_as_before(site: Site, gateway: Gateway):
    bus = await site.bus("documents")
    log = DocumentLog(bus, Group())
    await log.open()
    library = Library(log, Epochs(bus, Group(), lambda: None), cache_max_bytes=10_000_000)
    authors = {new_key(): Author() for _ in range(70)}
    for key, author in authors.items():
        await gateway.store(key, author.write("before"))
        async with library.current(key):
            pass
    resting = []
    for key, author in authors.items():
        await gateway.store(key, author.write(" and after"))
        if library.rests(key):
            resting.append(key)
        async with library.current(key) as held:
            assert text_of(held.document.difference()) == "before and after"
            assert held.document.vector == author.vector
    assert len(resting) >= 6
    assert not library.rests(resting[-1]), "it was used a moment ago"


@pytest.mark.parametrize("known", [0, 4], ids=["a document that is new to it", "a document that it has in part"])
async def test_a_reader_whose_log_is_replaced_while_it_reads_begins_again(
    site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, known: int
):
    monkeypatch.setattr(document_log, "_BATCH_MAX", 2)
    author, key, bus = Author(), new_key(), await site.bus("documents")
    log, other = Interrupted(bus, Group()), DocumentLog(bus, Group())
    await log.open()
    library = Library(log, Epochs(bus, Group(), lambda: None), cache_max_bytes=10_000)

    async def text() -> str:
        async with library.current(key) as held:
            return text_of(held.document.difference())

    async def replace() -> None:
        newest = await other.newest(key)
        await other.store_snapshot(key, author.difference(EMPTY_VECTOR), covers=newest, expected=0)
        assert await other.purge(key, newest) > 0

    await gateway.store(key, *(author.write("x") for _ in range(known)))
    assert await text() == author.text
    await gateway.store(key, *(author.write("x") for _ in range(10)))
    log.interrupt = replace
    assert await text() == author.text


async def test_no_purge_races_with_readers_and_writers(site: Site, gateway: Gateway):
    """Two replicas replace the log again and again, while one gateway writes and others read."""
    for _ in range(2):
        await site.replica(snapshot_updates=3, cache_max_bytes=0)
    author, key = Author(), new_key()
    stored, reads = "", [0, 0, 0]

    async def read(number: int) -> None:
        reader = Author()
        while True:
            least = stored
            reply = await gateway.ask(key, reader.vector)
            if reply.head.outcome is Outcome.OK:
                reader.receive(reply.difference)
                assert reader.text.startswith(least)
                reads[number] += 1

    readers = [asyncio.create_task(read(number)) for number in range(len(reads))]
    while len(await gateway.snapshots(key)) == 0 or min(reads) < 10 or len(author.text) < 120:
        await gateway.store(key, author.write("x"))
        stored = author.text
        assert not any(reader.done() for reader in readers)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    assert await gateway.text(key) == author.text
    assert len(await gateway.log(key)) < 120


# --- limits ------------------------------------------------------------------------------------------------


async def test_a_document_that_is_too_large_says_so_and_loses_nothing(site: Site, gateway: Gateway):
    await site.replica(max_bytes=2000, snapshot_updates=2)
    author, key = Author(), new_key()
    statuses: list[DocumentStatus] = []
    await gateway.bus.subscribe(
        document_subjects.document_status(*key), lambda message: statuses.append(DocumentStatus.decode(message.data))
    )
    await gateway.store(key, author.write("a" * 1000))
    assert (await gateway.sync(key)).head.accepts_edits
    await gateway.store(key, author.write("b" * 1500))
    reply = await gateway.sync(key)
    assert (reply.head.is_full, reply.head.accepts_edits, reply.head.max_bytes) == (True, False, 2000)
    assert reply.head.size_bytes > 2500
    await eventually(lambda: statuses and statuses[-1].is_full, "gateways get to know it")
    await gateway.store(key, author.write("c"))  # of a gateway that did not know it yet
    assert await gateway.text(key) == author.text


async def test_a_stream_that_is_nearly_full_accepts_no_edits_until_a_snapshot_has_made_room(
    site: Site, gateway: Gateway
):
    bus = gateway.bus
    await bus.api(f"STREAM.PURGE.{STREAM}")
    config = (await bus.api(f"STREAM.INFO.{STREAM}"))["config"]
    await bus.api(f"STREAM.UPDATE.{STREAM}", {**config, "max_bytes": 1_000_000})
    try:
        author, key = Author(), new_key()
        await gateway.store(key, *(author.put("k", f"{number}" * 4500) for number in range(100, 169)))
        replica = await site.replica(survey_seconds=0.5)
        head = (await gateway.sync(key)).head
        assert (head.storage_full, head.is_full, head.accepts_edits) == (True, False, False)
        for part in replica._parts:
            part.snapshots.want(key)
        await snapshot_of(gateway, key)

        async def has_room() -> bool:
            return (await gateway.sync(key)).head.accepts_edits

        await eventually(has_room, "edits are accepted again")
    finally:
        await bus.api(f"STREAM.UPDATE.{STREAM}", config)


# --- streams that went back --------------------------------------------------------------------------------


async def test_a_stream_that_went_back_begins_a_new_epoch_and_gives_no_lost_update(nats: NatsServer, site: Site):
    gateway = await site.gateway()
    replicas = [await site.replica() for _ in range(2)]
    author, key = Author(), new_key()
    await gateway.store(key, *(author.write(letter) for letter in "abc"))
    before = (await gateway.sync(key)).head
    copy = await asyncio.to_thread(nats.copy_store)
    await gateway.store(key, *(author.write("x") for _ in range(LOST)))
    known = (await gateway.sync(key)).head
    assert known.epoch == before.epoch
    await asyncio.to_thread(nats.go_back, copy)
    await eventually(lambda: gateway.bus.connected and not any(r.not_ready() for r in replicas), "all are back")

    async def answered() -> bool:
        reply = await gateway.ask(key, epoch=known.epoch, position=known.sequence)
        return reply.head.outcome is Outcome.OK and reply.head.epoch != known.epoch

    await eventually(answered, "a new epoch begins")
    late = await site.replica()
    for _ in range(6):
        reply = await gateway.sync(key)
        assert (text_of(reply.difference), reply.head.sequence) == ("abc", before.sequence)

    async def agree() -> bool:
        epochs = {part.epochs.epoch for replica in (*replicas, late) for part in replica._parts}
        return len(epochs) == 1

    await eventually(agree, "all replicas are in the new epoch")
    # An edit that follows lost ones waits until its author sends these again.
    await gateway.store(key, author.write("y"))
    assert await gateway.text(key) == "abc"
    await gateway.store(key, author.difference((await gateway.sync(key)).vector))
    assert await gateway.text(key) == author.text


async def test_a_snapshot_of_an_update_that_was_lost_hides_none_that_came_in_its_place(site: Site, gateway: Gateway):
    """A replica may store it at the moment at which the stream comes back shorter."""
    author, key = Author(), new_key()
    log = DocumentLog(await site.bus("documents"), Group())
    await gateway.store(key, author.write("a"), author.write("b"))
    newest = await log.newest(key)
    other = Newest(newest.sequence, "2020-01-01T00:00:00Z")
    await log.store_snapshot(key, Author().write("lost"), covers=other, expected=0)
    assert await log.purge(key, other) == 0
    await site.replica()
    assert sorted(await gateway.text(key)) == sorted("ablost")
