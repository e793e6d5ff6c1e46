"""An HTTP server on uvicorn, as a part of a process.

uvicorn by itself handles signals, closes everything and raises the signal again. Here the process handles signals, and
`stop` has a deadline after which it aborts open connections.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.accepting import Acceptor

log = logs.get(__name__)

_DATE_SECONDS = 1.0
_STARTED_POLL_SECONDS = 0.005


_REQUEST_SECONDS = 20.0


class BoundedRequests(HttpToolsProtocol):
    """uvicorn's protocol with a deadline by which a client must have sent a request, or read the answer.

    uvicorn itself has a deadline only between two requests.
    """

    def __init__(self, *args: Any, request_seconds: float = _REQUEST_SECONDS, **options: Any) -> None:
        super().__init__(*args, **options)
        self._request_seconds = request_seconds
        self._due: asyncio.TimerHandle | None = None
        self._is_in_request = False
        """Whether a part of a request was read, but not its end."""
        self._has_asked = False
        """Whether a whole request was read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        if not self._waits_for_client():
            self._begin()
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._is_in_request = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._is_in_request, self._has_asked = False, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._begin()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()  # A close would wait until the client has read everything.

    def connection_lost(self, exc: Exception | None) -> None:
        if self._due is not None:
            self._due.cancel()
        super().connection_lost(exc)

    def _waits_for_client(self) -> bool:
        """Return whether the client must act: send the rest of a request, or read the answer."""
        return self._is_in_request or self._is_answering() or self.transport.get_write_buffer_size() > 0

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _begin(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = self.loop.call_later(self._request_seconds, self._end_if_late)

    def _end_if_late(self) -> None:
        if not self._has_asked or self._waits_for_client():
            self.transport.abort()


def _nothing() -> None:
    """Close no connections."""


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, *, below: int, make_room: Callable[[], None], serve: Callable[..., None] | None
    ) -> None:
        super().__init__(config)
        self._below = below
        self._make_room = make_room
        self._serve_socket = serve
        self._ending = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Like uvicorn's, which wakes up ten times a second. Only the date of responses needs that, once a second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DATE_SECONDS):
                    await self._ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start like uvicorn, but with `Acceptor` in place of an `asyncio.Server`."""
        await self.lifespan.startup()

        def protocol(**options: Any) -> asyncio.Protocol:
            made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg] # as uvicorn
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state, **options
            )
            return made

        serve = self._serve_socket
        if serve is not None:
            serve = partial(serve, connections=self.server_state.connections)
        acceptors: list[Any] = [
            Acceptor(listener, protocol, below=self._below, make_room=self._make_room, serve=serve)
            for listener in sockets or ()
        ]
        self.servers = acceptors  # uvicorn only closes them.
        self.started = True


class HttpServer:
    """An ASGI application on one port of this process."""

    def __init__(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        *,
        below: int,
        make_room: Callable[[], None] = _nothing,
        http: Any = BoundedRequests,
        serve: Callable[..., None] | None = None,
    ) -> None:
        """Create a server that owns the listener. `below`, `make_room`: see `Acceptor`.

        `serve`: as for `Acceptor`. It also gets `connections`, the property of this server.
        """
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self._config = uvicorn.Config(
            app,
            http=http,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # The application decides which proxies it trusts.
            timeout_keep_alive=65,
        )
        self._server = _Server(self._config, below=below, make_room=make_room, serve=serve)
        self._serving: asyncio.Task[None] | None = None

    @property
    def connections(self) -> set[Any]:
        """The open connections, which `stop` shuts down and `abort` aborts."""
        return self._server.server_state.connections

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="http")
        while not self._server.started:
            if self._serving.done():
                await self._serving
                raise RuntimeError("the HTTP server ended before it started")
            await asyncio.sleep(_STARTED_POLL_SECONDS)

    def stop_listening(self) -> None:
        """Accept no new connections. Open ones continue."""
        for server in self._server.servers if self._server.started else ():
            server.close()

    async def stop(self, grace_seconds: float) -> None:
        """Close idle connections, wait up to `grace_seconds` for running requests, then abort the rest."""
        if self._serving is None:
            self._listener.close()
            return
        self._config.timeout_graceful_shutdown = max(1, int(grace_seconds))
        self._server.end()
        _, late = await asyncio.wait([self._serving], timeout=grace_seconds)
        self.abort()
        if late:
            log.warning("aborted open connections", server_port=self.port)
            self._server.force_exit = True
            self._serving.cancel()
            await asyncio.wait([self._serving], timeout=1.0)
        self._serving = None

    def abort(self) -> None:
        for connection in list(self._server.server_state.connections):
            abort = getattr(connection, "abort", None) or connection.transport.abort
            abort()
