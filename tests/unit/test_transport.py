"""`transport` on a pair of real sockets, in the event loop the gateway runs in."""

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from studyroom.gateway.transport.native import READ_MAX_BYTES
from studyroom.gateway.transport.socket_transport import HIGH_WATER_BYTES, LOW_WATER_BYTES, SocketTransport
from studyroom.gateway.wire import websocket
from studyroom.gateway.wire.websocket import open_websocket
from tests.support.echo import Echo
from tests.support.waiting import eventually


class Reader:
    def __init__(self) -> None:
        self.received = bytearray()
        self.events: list[str] = []
        self.ended_with: list[Exception | None] = []
        self.transport: SocketTransport | None = None
        self.closes_at: bytes | None = None
        """The data on which it ends the connection."""

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.closes_at is not None and self.closes_at in self.received:
            assert self.transport is not None
            self.transport.abort()

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended_with.append(exc)


class Pair:
    def __init__(self) -> None:
        ours, self.peer = socket.socketpair()
        for side in (ours, self.peer):
            side.setblocking(False)
            side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.reader = Reader()
        self.transport = SocketTransport(asyncio.get_running_loop(), ours, self.reader)
        self.reader.transport = self.transport

    async def read_all(self) -> bytes:
        """The data that the peer receives until the end."""
        received = b""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while chunk := await loop.sock_recv(self.peer, 65_536):
                received += chunk
        return received

    async def ended(self) -> None:
        await eventually(lambda: self.reader.ended_with, "the reader receives the end")


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    yield made
    made.transport.abort()
    await made.ended()
    made.peer.close()


def numbered(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"%06d;" % number * 30


async def test_written_data_arrives_in_order_though_the_peer_reads_late(pair: Pair) -> None:
    parts = list(numbered(2000))
    for part in parts:
        pair.transport.write(part)
    assert pair.transport.get_write_buffer_size() > 0
    pair.transport.close()
    assert await pair.read_all() == b"".join(parts)
    await pair.ended()
    assert pair.reader.ended_with == [None]


async def test_no_read_is_large() -> None:
    made = Pair()
    sizes: list[int] = []
    made.reader.data_received = lambda data: sizes.append(len(data))  # type: ignore[method-assign]
    made.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
    sent = made.peer.send(bytes(500_000))
    made.transport.resume_reading()
    await eventually(lambda: sum(sizes) == sent, "all of it is read")
    made.transport.abort()
    await made.ended()
    made.peer.close()
    assert sent > 4 * 16_384
    assert max(sizes) <= READ_MAX_BYTES == 16_384


async def test_the_reader_is_notified_once_when_too_much_is_unwritten_and_once_when_that_is_over(pair: Pair) -> None:
    part = bytes(1000)
    while pair.transport.get_write_buffer_size() <= HIGH_WATER_BYTES:
        assert pair.reader.events == []
        pair.transport.write(part)
    pair.transport.write(part)
    assert pair.reader.events == ["pause"]
    loop = asyncio.get_running_loop()
    while pair.reader.events == ["pause"]:
        async with asyncio.timeout(10):
            await loop.sock_recv(pair.peer, 1000)
        await asyncio.sleep(0)
    assert pair.reader.events == ["pause", "resume"]
    assert pair.transport.get_write_buffer_size() <= LOW_WATER_BYTES


async def test_data_that_the_peer_sends_is_read_whole(pair: Pair) -> None:
    pair.transport.resume_reading()
    sent = b"".join(numbered(500))
    await asyncio.get_running_loop().sock_sendall(pair.peer, sent)
    await eventually(lambda: len(pair.reader.received) >= len(sent), "everything was read")
    assert bytes(pair.reader.received) == sent


async def test_nothing_is_read_before_it_is_asked_for_or_while_it_is_paused(pair: Pair) -> None:
    pair.peer.send(b"early")
    await asyncio.sleep(0.02)
    assert pair.reader.received == b""
    pair.transport.resume_reading()
    await eventually(lambda: pair.reader.received == b"early", "it was read")
    pair.transport.pause_reading()
    pair.peer.send(b" late")
    await asyncio.sleep(0.02)
    assert pair.reader.received == b"early"
    pair.transport.resume_reading()
    await eventually(lambda: pair.reader.received == b"early late", "the rest was read")


async def test_a_reader_that_ends_the_connection_receives_nothing_more(pair: Pair) -> None:
    pair.reader.closes_at = b"stop"
    pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
    assert pair.peer.send(b"x" * (READ_MAX_BYTES - 4) + b"stop" + b"y" * 512) == READ_MAX_BYTES + 512
    pair.transport.resume_reading()
    await pair.ended()
    assert b"y" not in pair.reader.received


async def test_the_peers_end_is_the_end_after_the_data_written_before(pair: Pair) -> None:
    pair.transport.resume_reading()
    pair.peer.send(b"goodbye")
    pair.peer.shutdown(socket.SHUT_WR)
    await pair.ended()
    assert bytes(pair.reader.received) == b"goodbye"
    assert pair.reader.ended_with == [None]
    assert pair.transport.is_closing()


async def test_writing_to_a_peer_that_is_gone_ends_the_connection_once_and_raises_nothing(pair: Pair) -> None:
    pair.peer.close()
    for _ in range(3):
        pair.transport.write(b"hello")
    assert pair.reader.ended_with == []  # not in the midst of the writer's own call
    await pair.ended()
    pair.transport.write(b"hello")
    await asyncio.sleep(0.02)
    assert len(pair.reader.ended_with) == 1
    assert isinstance(pair.reader.ended_with[0], BrokenPipeError)


async def test_a_peer_that_goes_while_much_is_unwritten_ends_the_connection(pair: Pair) -> None:
    for part in numbered(500):
        pair.transport.write(part)
    pair.peer.close()
    await pair.ended()
    assert isinstance(pair.reader.ended_with[0], BrokenPipeError | ConnectionResetError)
    assert pair.transport.get_write_buffer_size() == 0


async def test_abort_ends_at_once_and_leaves_the_rest_unwritten(pair: Pair) -> None:
    parts = list(numbered(2000))
    for part in parts:
        pair.transport.write(part)
    pair.transport.abort()
    received = await pair.read_all()
    assert len(received) < len(b"".join(parts))
    assert b"".join(parts).startswith(received)


async def test_nothing_is_written_after_an_abort(pair: Pair) -> None:
    pair.transport.write(b"before")
    pair.transport.abort()
    pair.transport.write(b"after")
    assert pair.transport.get_write_buffer_size() == 0
    assert await pair.read_all() == b"before"


async def test_the_part_of_a_backlog_that_the_peer_takes_is_counted(pair: Pair) -> None:
    parts = list(numbered(2000))
    for part in parts:
        pair.transport.write(part)
    unwritten = pair.transport.get_write_buffer_size()
    before = pair.transport.get_progress_bytes()
    await asyncio.sleep(0.02)
    assert pair.transport.get_progress_bytes() == before
    received = 0
    while pair.transport.get_progress_bytes() < before + 1000:
        received += len(await asyncio.get_running_loop().sock_recv(pair.peer, 1000))
    assert received < 50_000
    pair.transport.close()
    await pair.read_all()
    assert pair.transport.get_progress_bytes() == unwritten


async def test_memory_that_the_reader_holds_is_freed_at_the_end_without_the_collector(pair: Pair) -> None:
    reader = weakref.ref(pair.reader)
    gc.disable()
    try:
        pair.transport.abort()
        await pair.ended()
        pair.reader = Reader()
        await eventually(lambda: reader() is None, "the reader is gone")
    finally:
        gc.enable()
    pair.reader.ended_with.append(None)  # for the fixture


async def test_nothing_that_is_written_is_changed_by_a_close_that_comes_twice(pair: Pair) -> None:
    pair.transport.write(b"last words")
    pair.transport.close()
    pair.transport.close()
    assert await pair.read_all() == b"last words"
    await pair.ended()
    assert pair.reader.ended_with == [None]


@pytest.mark.parametrize("fails_at", ["write", "resume_reading"])
async def test_an_upgrade_that_fails_leaves_no_socket_behind(monkeypatch: pytest.MonkeyPatch, fails_at: str) -> None:
    def fails(*_: object) -> None:
        raise OSError("on our side")

    monkeypatch.setattr(websocket, "SocketTransport", type("Failing", (SocketTransport,), {fails_at: fails}))
    connected, peer = socket.socketpair()
    http: Any = SimpleNamespace(get_extra_info=lambda _name: connected, close=lambda: None)
    connections: set[Any] = set()
    with connected, peer:
        with pytest.raises(OSError, match="on our side"):
            open_websocket(http, Echo(), b"accepted", b"", message_max_bytes=1024, connections=connections)
        connected.close()  # as the HTTP protocol does, which is left with its own
        await eventually(lambda: not connections, "the connection is gone")
        peer.settimeout(5)
        assert peer.recv(8) in {b"", b"accepted"}
        assert peer.recv(1) == b""
