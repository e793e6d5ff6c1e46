"""A raw socket to a gateway, whose owner keeps to no protocol."""

import asyncio
import json
import re
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

from tests.support.frames import frame_bytes

TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9
_DEADLINE_SECONDS = 15.0
_HEAD = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)

Answers = Counter[str]
"""Counted answers to a stranger: statuses, close codes and error codes, or `ended` for a socket that just ended."""


@dataclass(frozen=True)
class Target:
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Target":
        host, port = url.removeprefix("ws://").removesuffix("/ws").split(":")
        return cls(host, int(port))


def message(message_type: str, payload: object = None) -> bytes:
    """The message as a frame."""
    whole = {"type": message_type} if payload is None else {"type": message_type, "payload": payload}
    return frame_bytes(TEXT, json.dumps(whole).encode())


class Stranger:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received: Counter[str] = Counter()
        """Types of messages, and codes of errors."""

    @classmethod
    @asynccontextmanager
    async def connected(cls, target: Target) -> AsyncIterator[Self]:
        stranger = cls(*await asyncio.open_connection(target.host, target.port))
        try:
            yield stranger
        finally:
            stranger._writer.transport.abort()

    @classmethod
    @asynccontextmanager
    async def upgraded(cls, target: Target, *, path: str = "/ws", more: str = "") -> AsyncIterator[Self]:
        async with cls.connected(target) as stranger:
            await stranger.upgrade(path=path, more=more)
            yield stranger

    async def upgrade(self, *, path: str = "/ws", more: str = "") -> str:
        """The head of the answer. `more`: header lines."""
        await self.send(_HEAD.format(path=path, more=more).encode("latin-1"))
        return await self.head()

    async def head(self) -> str:
        """The head of an answer."""
        async with asyncio.timeout(_DEADLINE_SECONDS):
            return (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def send(self, data: bytes) -> bool:
        """Whether the gateway takes it; it need not have read it."""
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()
            return not self._writer.is_closing()
        return False

    async def send_until_ended(self, data: bytes, deadline_seconds: float = _DEADLINE_SECONDS) -> None:
        """Over and over again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_seconds):
                while await self.send(data):
                    await asyncio.sleep(0)

    @asynccontextmanager
    async def sending(self, data: bytes) -> AsyncIterator[None]:
        """Over and over again, for as long as the block goes on."""
        async with _meanwhile(self.send_until_ended(data)):
            yield

    async def flood(self, data: bytes) -> str:
        """Send over and over again, read meanwhile. How it ended."""
        async with _meanwhile(self.send_until_ended(data)):
            return await self.outcome()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Reads everything, for as long as the block goes on."""
        async with _meanwhile(self.outcome()):
            yield

    async def outcome(self) -> str:
        """Reads to the end: the close code, or `ended`; `open` when there is no end in time."""
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                while True:
                    opcode, payload = await self._frame()
                    if opcode == CLOSE:
                        return str(struct.unpack("!H", payload[:2])[0]) if payload else "1005"
                    if opcode == TEXT:
                        self._receive(json.loads(payload))
        except (ConnectionError, asyncio.IncompleteReadError):
            return "ended"
        except TimeoutError:
            return "open"

    async def expect(self, message_type: str) -> None:
        """Returns when such a message, or an error, has come."""
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while True:
                opcode, payload = await self._frame()
                if opcode == TEXT:
                    self._receive(json.loads(payload))
                    if json.loads(payload)["type"] in {message_type, "Error"}:
                        return

    async def statuses(self) -> Answers:
        """The statuses of all answers until the gateway ends the socket."""
        answer = b""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_DEADLINE_SECONDS):
                while chunk := await self._reader.read(65_536):
                    answer += chunk
        return Counter(status.decode() for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer)) or Counter(["ended"])

    async def _frame(self) -> tuple[int, bytes]:
        first, size = await self._reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
        return first & 0x0F, await self._reader.readexactly(size)

    def _receive(self, message: dict[str, object]) -> None:
        payload = message.get("payload")
        code = payload.get("code") if isinstance(payload, dict) else None
        self.received[str(code or message["type"])] += 1


@asynccontextmanager
async def _meanwhile(what: Coroutine[object, object, object]) -> AsyncIterator[None]:
    task = asyncio.create_task(what)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def again_and_again(seconds: float, one: Callable[[], Awaitable[Answers]], *, at_once: int = 2) -> Answers:
    got: Answers = Counter()
    deadline = time.monotonic() + seconds

    async def worker() -> None:
        while time.monotonic() < deadline:
            try:
                got.update(await one())
            except (ConnectionError, asyncio.IncompleteReadError):
                got["ended"] += 1

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return got


async def flooded(target: Target, flood: bytes, *, first: bytes = b"") -> Answers:
    """One connection that sends this first, and then the flood until it is ended."""
    async with Stranger.upgraded(target) as stranger:
        await stranger.send(first)
        return Counter([await (stranger.flood(flood) if flood else stranger.outcome())])


def request(path: str, *more: str, method: str = "GET") -> bytes:
    """The head of a request, with header lines; nothing is checked."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *more, "", ""]).encode("latin-1")
