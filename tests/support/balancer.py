"""A load balancer that chooses a gateway by the room in the address."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from urllib.parse import urlsplit

_ROOM = re.compile(rb"[?&]room=([0-9a-f-]{36})")
_CHUNK_BYTES = 65_536


class Balancer:
    """Each room has the gateway with the highest hash of both, so an added one takes only its share of the rooms."""

    def __init__(self, urls: list[str]) -> None:
        """`urls`: of the gateways. Add to the list, or remove from it, at any time."""
        self.urls = urls
        self.url = ""
        self.hints: list[str] = []
        """The rooms in the addresses that came."""

    def home(self, room: str) -> str:
        return max(self.urls, key=lambda url: blake2b(f"{url} {room}".encode()).digest())

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            found = _ROOM.search(head)
            if found is not None:
                self.hints.append(found[1].decode())
            url = self.home(found[1].decode()) if found is not None else random.choice(self.urls)
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
            there_writer.write(head)
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(_CHUNK_BYTES):
            sink.write(data)
    sink.close()


@asynccontextmanager
async def balancer(*urls: str) -> AsyncIterator[Balancer]:
    running = Balancer(list(urls))
    server = await asyncio.start_server(running.accept, "127.0.0.1", 0)
    running.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
    try:
        yield running
    finally:
        server.close()
