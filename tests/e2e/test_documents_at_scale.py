"""Long histories and many editors of one document: time, memory, and how long the event loop of a service stands still.

`make long ARGS="-s -k at_scale"` prints the figures. Stalls are those of the machine too, so run it alone.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import pytest
import websockets
from nats.aio.client import Client as Nats

from studyroom.gateway.documents import awareness
from studyroom.gateway.documents.awareness import Entry
from studyroom.services.documents.log import DocumentKey
from studyroom.shared.contract import document_subjects, lib0, subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.documents import EMPTY_UPDATE, EMPTY_VECTOR
from studyroom.shared.contract.ids import RoomId
from tests.faults.copies import Message, messages_of
from tests.support.documents import Author
from tests.support.editor import AWARENESS, STEP_1, STEP_2, SYNC, UPDATE, Editor, editors
from tests.support.presence import connected
from tests.support.processes import ServiceProcess, all_running, nats_server, running, service
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

NAME = DocumentName("notes")
STALL_SECONDS = "0.1"
"""A bucket of the histogram of the event loop's lag."""
HISTORY_BYTES = 100_000_000
PASTED = "x" * 4000
EDITORS, WRITERS, SECONDS, EDITS_PER_SECOND = 500, 5, 10, 2
_ACKNOWLEDGED_EVERY = 500


@dataclass
class Stack:
    url: str
    documents: ServiceProcess
    gateway: ServiceProcess


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with running(nats_server(tmp_path)) as nats:
        many = {
            "STUDYROOM_GATEWAY_MESSAGES_PER_SECOND": "1000",
        }
        names = ("provisioner", "presence", "documents")
        others = {name: service(name, tmp_path, nats.url) for name in names}
        gateway = service("gateway", tmp_path, nats.url, **many)
        with all_running(*others.values(), gateway):
            yield Stack(nats.url, others["documents"], gateway)


def stalls(process: ServiceProcess) -> float:
    """How often the event loop stood still for longer than STALL_SECONDS."""
    name = f"studyroom_{process.name}_event_loop_lag_seconds"
    samples = dict(line.rsplit(" ", 1) for line in process.metrics().splitlines() if line.startswith(name))
    return float(samples[f"{name}_count"]) - float(samples[f'{name}_bucket{{le="{STALL_SECONDS}"}}'])


def peak_mib(process: ServiceProcess) -> float:
    """The most memory that the process has had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


# --- a long history ----------------------------------------------------------------------------------------


def pasted_and_deleted(author: Author) -> Iterator[bytes]:
    """One paste of 4 KB after the other, each in place of the one before."""
    size = 0
    while size < HISTORY_BYTES:
        update = author.replace(PASTED)
        size += len(update)
        yield update


def typed(author: Author) -> Iterator[bytes]:
    """200,000 letters, one update each."""
    for number in range(200_000):
        yield author.write("abcdefghij"[number % 10])


async def store(connection: Nats, key: DocumentKey, updates: Iterator[bytes]) -> tuple[int, int]:
    """Return the number of updates and of their bytes."""
    subject, count, size = document_subjects.document(*key), 0, 0
    stream = connection.jetstream()
    for update in updates:
        count, size = count + 1, size + len(update)
        if count % _ACKNOWLEDGED_EVERY:
            await connection.publish(subject, update)
        else:
            await stream.publish(subject, update)
    await stream.publish(subject, EMPTY_UPDATE)
    return count, size


@pytest.mark.parametrize("history", [pasted_and_deleted, typed])
async def test_a_long_history_is_read_and_compacted_in_little_memory(stack: Stack, room: str, history: object):
    key, author = DocumentKey(RoomId(room), NAME), Author()
    async with connected(stack.url) as connection:
        stack.documents.stop()
        assert callable(history)
        count, size = await store(connection, key, history(author))
        stack.documents.start()
        await asyncio.to_thread(stack.documents.wait_ready)
        before, began = peak_mib(stack.documents), time.monotonic()
        async with editors(room, stack.gateway.url) as (reader,):
            opened = time.monotonic() - began
            assert reader.text == author.text

            async def compacted() -> list[Message]:
                log, _ = await messages_of(connection, subjects.DOCUMENTS_STREAM, document_subjects.document(*key))
                found, _ = await messages_of(
                    connection, subjects.DOCUMENTS_STREAM, document_subjects.document_snapshot(*key)
                )
                return found if len(log) == 1 else []

            (snapshot,) = await eventually(compacted, "the log is replaced by a snapshot", 120)
            took = time.monotonic() - began
        began = time.monotonic()
        async with editors(room, stack.gateway.url) as (late,):
            again = time.monotonic() - began
            assert late.text == author.text
    print(
        f"{count} updates of {size / 1e6:.0f} MB: opened after {opened:.1f} s, compacted to {len(snapshot.data)} bytes "
        f"after {took:.1f} s, then opened in {1000 * again:.0f} ms; documents {before:.0f} MiB, at most "
        f"{peak_mib(stack.documents):.0f} MiB, {stalls(stack.documents):.0f} stalls; gateway at most "
        f"{peak_mib(stack.gateway):.0f} MiB, {stalls(stack.gateway):.0f} stalls"
    )
    assert len(snapshot.data) < size / 10
    assert peak_mib(stack.documents) - before < 200


# --- many editors ------------------------------------------------------------------------------------------


class Reader:
    """Counts what comes, without a document: 500 of them take too long."""

    def __init__(self, socket: websockets.ClientConnection, number: int, arrivals: list[float]) -> None:
        self._socket = socket
        self._number = number
        self._arrivals = arrivals
        self.updates = self.cursors = 0
        self.is_synced = False
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        await self._send(SYNC, STEP_1, EMPTY_VECTOR)
        await self.point(1)
        with suppress(websockets.ConnectionClosed):
            async for message in self._socket:
                assert isinstance(message, bytes)
                if message[0] == AWARENESS:
                    self.cursors += 1
                elif message[:2] == bytes((SYNC, STEP_1)):
                    await self._send(SYNC, STEP_2, EMPTY_UPDATE)
                elif message[:2] == bytes((SYNC, STEP_2)):
                    self.is_synced = True
                elif message[:2] == bytes((SYNC, UPDATE)):
                    self.updates += 1
                    self._arrivals.append(time.monotonic())

    async def _send(self, kind: int, step: int, contents: bytes) -> None:
        await self._socket.send(bytes((kind, step)) + lib0.data(contents))

    async def point(self, clock: int) -> None:
        state = Entry(1000 + self._number, clock, f'{{"cursor":{clock}}}')
        await self._socket.send(bytes((AWARENESS,)) + lib0.data(awareness.encode([state])))

    async def close(self) -> None:
        await self._socket.close()
        await self.reading


async def test_500_editors_of_one_document_get_every_edit(stack: Stack, room: str):
    arrivals: list[float] = []
    address = f"{stack.gateway.url.removesuffix('/ws')}/documents/{room}/{NAME}"
    before, began = peak_mib(stack.gateway), time.monotonic()
    async with editors(room, *[stack.gateway.url] * WRITERS) as writers:
        readers = [
            Reader(await websockets.connect(address, compression=None), number, arrivals)
            for number in range(EDITORS - WRITERS)
        ]
        await eventually(lambda: all(reader.is_synced for reader in readers), "all are synced", 60)
        opened = time.monotonic() - began
        sent: list[float] = []

        async def write(writer: Editor, number: int) -> None:
            for edit in range(SECONDS * EDITS_PER_SECOND):
                await asyncio.sleep((number / WRITERS if edit == 0 else 1) / EDITS_PER_SECOND)
                sent.append(time.monotonic())
                await writer.edit(f"[{number}.{edit}]")
                await readers[number].point(edit + 2)

        await asyncio.gather(*(write(writer, number) for number, writer in enumerate(writers)))
        edits = [f"[{number}.{edit}]" for number in range(WRITERS) for edit in range(SECONDS * EDITS_PER_SECOND)]
        for writer in writers:
            await writer.has(*edits)
        # Edits do not overlap, so each is one update.
        await eventually(lambda: all(reader.updates == len(edits) for reader in readers), "all have all edits", 60)
        ages = [at - max(one for one in sent if one <= at) for at in arrivals]
        await asyncio.gather(*(reader.close() for reader in readers))
    cuts = quantiles(ages, n=100)
    print(
        f"{EDITORS} editors: all synced after {opened:.1f} s, {len(arrivals)} deliveries, age of an edit p50 "
        f"{1000 * cuts[49]:.0f} ms, p99 {1000 * cuts[98]:.0f} ms; gateway {before:.0f} MiB, at most "
        f"{peak_mib(stack.gateway):.0f} MiB, {stalls(stack.gateway):.0f} stalls; documents at most "
        f"{peak_mib(stack.documents):.0f} MiB, {stalls(stack.documents):.0f} stalls"
    )
