"""A client whose network blocks WebSockets: it reads events from one long response, and sends requests."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Self
from urllib.parse import urlsplit

from tests.support.client import Client

DEADLINE_SECONDS = 15.0
GIVE_UP_SECONDS, ATTEMPT_SECONDS, RETRY_SECONDS = 12.0, 4.0, 0.3
NO_CONTENT, TOO_MANY_REQUESTS, SERVER_ERROR = 204, 429, 500
Answer = tuple[int, dict[str, str], bytes]
"""Status, headers by name in lower case, and body."""


async def request(url: str, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    """`url`: of a gateway. In the names of `headers`, `_` stands for `-`."""
    reader, writer = await _open(url)
    try:
        return await asyncio.wait_for(_request(reader, writer, method, target, body, headers), DEADLINE_SECONDS)
    finally:
        writer.close()


async def _request(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Answer:
    status, answered = await _head(reader, writer, method, target, body, headers)
    size = int(answered.get("content-length", "0"))
    return status, answered, await reader.readexactly(size) if method != "HEAD" else b""


async def _head(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str]]:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = (line.split(": ", 1) for line in rest if line)
    return int(first.split()[1]), {name.lower(): value for name, value in fields}


async def _open(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    return await asyncio.open_connection(parts.hostname, parts.port)


class Refused(Exception):
    """The gateway refused the connection. `str()` is the code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status


class EventStream:
    """The part of a connection of the library websockets that `Client` uses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: str) -> None:
        """`up`: the gateway to which messages are sent."""
        self.up = up
        self.target = self.secret = ""
        self.number = 0
        """The number of the last batch."""
        self.pings = 0
        self.close_code: int | None = None
        self.close_reason = ""
        self._reader = reader
        self._writer = writer
        self._unread = b""

    @classmethod
    async def open(cls, url: str, *, up: str | None = None, query: str = "") -> Self:
        """Raises Refused. `up`: another gateway for messages."""
        reader, writer = await _open(url)
        stream = cls(reader, writer, up or url)
        try:
            data = await stream._begin(query)
        except BaseException:
            writer.close()
            raise
        opened = json.loads(data)
        stream.target, stream.secret = f"/api/v1/stream/{opened['gateway']}", opened["secret"]
        return stream

    async def _begin(self, query: str) -> str:
        """The data of the first event. Raises Refused."""
        status, headers = await _head(self._reader, self._writer, "GET", f"/api/v1/stream?{query}")
        if status != 200:
            body = json.loads(await self._reader.readexactly(int(headers["content-length"])))
            raise Refused(status, body["code"])
        assert headers["content-type"].startswith("text/event-stream")
        name, data = await self._event()
        assert name == "open"
        return data

    async def recv(self) -> str:
        """The next message. Raises IncompleteReadError or ConnectionError at the end."""
        while True:
            name, data = await self._event()
            if name == "message":
                return data
            if name == "ping":
                self.pings += 1
            elif name == "close":
                closed = json.loads(data)
                self.close_code, self.close_reason = closed["code"], closed["reason"]

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            while True:
                yield await self.recv()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close_code = self.close_code or 1006
        finally:
            self._writer.close()

    async def _event(self) -> tuple[str, str]:
        """Its name and its data. Raises IncompleteReadError at the end."""
        while True:
            while b"\n\n" not in self._unread:
                self._unread += await self._chunk()
            block, self._unread = self._unread.split(b"\n\n", 1)
            lines = [line for line in block.decode().split("\n") if not line.startswith(":")]
            if lines:
                fields = {name: value.removeprefix(" ") for name, _, value in (line.partition(":") for line in lines)}
                return fields.get("event", "message"), fields["data"]

    async def _chunk(self) -> bytes:
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        chunk = await self._reader.readexactly(size + 2)
        if size == 0:
            raise asyncio.IncompleteReadError(b"", None)
        return chunk[:-2]

    async def send(self, text: str) -> None:
        self.number += 1
        status, _, body = await self.post(self.number, text.encode())
        assert status == 204, body

    async def post(self, number: int, lines: bytes, *, close: int = 0) -> Answer:
        target = f"{self.target}?number={number}" + (f"&close={close}" if close else "")
        return await request(self.up, "POST", target, self.secret.encode() + b"\n" + lines)

    async def close(self, code: int = 1000) -> None:
        if self.close_code is None:
            self.number += 1
            await self.post(self.number, b"", close=code)
        self._writer.close()

    @property
    def reading(self) -> asyncio.ReadTransport:
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        return transport

    @property
    def transport(self) -> asyncio.WriteTransport:
        return self._writer.transport


async def connect(url: str, *, up: str | None = None, query: str = "") -> Client:
    return await _welcomed(await EventStream.open(url, up=up, query=query))


class PatientStream(EventStream):
    """Repeats a batch until a gateway has taken it, and answers pings, as clients do that use this for long."""

    ups: Sequence[str] = ()
    """A balancer sends a batch to any of these gateways. Every second attempt goes to the gateway of the stream."""
    dice: random.Random

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: str) -> None:
        super().__init__(reader, writer, up)
        self._home = up
        self._sending = asyncio.Lock()
        self._answering: asyncio.Task[None] | None = None

    async def _event(self) -> tuple[str, str]:
        name, data = await super()._event()
        if name == "ping" and (self._answering is None or self._answering.done()):
            self._answering = asyncio.create_task(self.send(""))
        return name, data

    async def send(self, text: str) -> None:
        """Ends the connection if no gateway takes the batch. Cancellation does so too."""
        async with self._sending:
            self.number += 1
            try:
                await self._deliver(text.encode())
            except (TimeoutError, asyncio.CancelledError):
                self.transport.abort()
                raise

    async def _deliver(self, lines: bytes, *, close: int = 0) -> None:
        """Raises TimeoutError, also when the gateway refuses the batch."""
        async with asyncio.timeout(GIVE_UP_SECONDS):
            for attempt in count():
                self.up = self._home if attempt % 2 else self.dice.choice(self.ups)
                try:
                    async with asyncio.timeout(ATTEMPT_SECONDS):
                        status, _, _ = await self.post(self.number, lines, close=close)
                except (OSError, EOFError):
                    status = 0
                if status == NO_CONTENT:
                    return
                if 0 < status < SERVER_ERROR and status != TOO_MANY_REQUESTS:
                    raise TimeoutError(f"a batch was refused with {status}")
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self, code: int = 1000) -> None:
        async with self._sending:
            self.number += 1
            if self.close_code is None:
                await self._deliver(b"", close=code)
        self._writer.close()


async def connect_patiently(url: str, ups: Sequence[str], dice: random.Random, *, query: str) -> Client:
    """A client that sends its messages to any of the gateways `ups`."""
    stream = await PatientStream.open(url, query=query)
    stream.ups, stream.dice = ups, dice
    return await _welcomed(stream)


async def _welcomed(stream: EventStream) -> Client:
    try:
        first = json.loads(await asyncio.wait_for(stream.recv(), DEADLINE_SECONDS))
    except BaseException:
        stream.transport.abort()
        raise
    assert first["type"] == "Welcome"
    return Client(stream, first["payload"])  # type: ignore[arg-type] # it has the part that `Client` uses
