"""TCP proxies that delay, hold back or reset their traffic, in a separate thread."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_CHUNK_BYTES = 65_536


@dataclass(frozen=True)
class Delay:
    """Seconds by which bytes come later, on their way to the target and back."""

    there: float = 0.0
    back: float = 0.0


class DelayProxy:
    """Forwards to a port on loopback; every byte arrives later, in order."""

    def __init__(self, target_port: int, delay: Delay) -> None:
        self._target_port = target_port
        self._delay = delay
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            return
        ways = ((reader, there_writer, self._delay.there), (there_reader, writer, self._delay.back))
        for source, sink, seconds in ways:
            task = asyncio.create_task(self._pump(source, sink, seconds))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await source.read(_CHUNK_BYTES):
                loop.call_later(seconds, _write, sink, data)
        sink.close()


def _write(sink: asyncio.StreamWriter, data: bytes) -> None:
    if not sink.is_closing():
        sink.write(data)


@contextmanager
def delay_proxies(targets: dict[int, Delay]) -> Iterator[dict[int, int]]:
    """For each target port with its delay, the port of a proxy to it."""
    loop = asyncio.new_event_loop()
    ports: dict[int, int] = {}
    started = threading.Event()

    async def serve() -> None:
        servers = []
        for target, delay in targets.items():
            proxy = DelayProxy(target, delay)
            servers.append(await proxy.start())
            ports[target] = proxy.port
        started.set()
        await stop.wait()
        for server in servers:
            server.close()
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield ports
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


class Link:
    """A proxy to one port that can be cut: then nothing passes and nobody notices, as when packets vanish.

    It can be cut in one direction alone, there (to the port) or back.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, target_port: int) -> None:
        self._loop = loop
        self._target_port = target_port
        self._there, self._back = asyncio.Event(), asyncio.Event()
        self._there.set()
        self._back.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._abort()

    @property
    def in_use(self) -> bool:
        return bool(self._writers)

    def cut(self, *, there: bool = True, back: bool = True) -> None:
        for way in [self._there] * there + [self._back] * back:
            self._loop.call_soon_threadsafe(way.clear)

    def heal(self) -> None:
        """Let the traffic pass that was held back."""
        for way in (self._there, self._back):
            self._loop.call_soon_threadsafe(way.set)

    def reset(self) -> None:
        """Every connection ends with a reset, once. Data under way is lost."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        await self._there.wait()
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(there_writer)
        for source, sink, passable in ((reader, there_writer, self._there), (there_reader, writer, self._back)):
            task = asyncio.create_task(self._pump(source, sink, passable))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passable: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK_BYTES):
                await passable.wait()
                sink.write(data)
                await sink.drain()
        await passable.wait()
        self._writers.discard(sink)
        sink.close()


class Network:
    """Links between processes, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._links: list[Link] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def link(self, target_port: int) -> Link:
        """A new way to a port on loopback."""
        link = Link(self._loop, target_port)
        asyncio.run_coroutine_threadsafe(link.start(), self._loop).result(10)
        self._links.append(link)
        return link

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        for link in self._links:
            await link.close()
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
