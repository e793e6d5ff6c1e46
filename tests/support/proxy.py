"""A TCP proxy that delays what passes through it, in a thread of its own."""

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
