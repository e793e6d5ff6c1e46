"""An open WebSocket: connects its transport, its protocol and the gateway's client."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from studyroom.gateway.transport.native import SEPARATE_MEMORY
from studyroom.gateway.transport.socket_transport import SocketTransport
from studyroom.gateway.wire.framing import Opcode
from studyroom.gateway.wire.handshake import Handshake, Refused, accepted
from studyroom.gateway.wire.protocol import Broken, Closed, Event, Ping, WebSocketProtocol
from studyroom.shared.chassis import logs
from studyroom.shared.contract.close_codes import CloseCode

log = logs.get(__name__)

_FAULT = "a connection failed with an internal error"
_CLOSE_LINGER_SECONDS = 0.05
"""The pause between the last close frame and the end of the socket, so that the frame arrives."""
_FLOOD_LINGER_SECONDS = 1.0
"""How long a client that floods may take to read the close frame."""


class Client(Protocol):
    """The gateway's side of a socket. The event loop makes all calls. They must not block or raise."""

    silent_beats: int
    """The socket sets it to 0 for every frame, also for a pong."""

    @property
    def binary_max_bytes(self) -> int:
        """The largest binary message that the client may send; 0 for a client that sends text messages."""

    def opened(self, socket: "ClientSocket") -> None: ...
    def received(self, payload: bytes) -> None:
        """A whole message: a text in valid UTF-8, or binary data."""

    def received_overhead(self) -> None:
        """A frame that is not a message came: a fragment, a ping or a pong."""

    def congested(self) -> None:
        """The client is a slow consumer: the write buffer is above its high-water mark."""

    def relieved(self) -> None:
        """The write buffer is below its low-water mark again."""

    def closed(self, code: int) -> None:
        """The connection has closed. `code`: of the close frame that ended it; 1006 if there was none."""


class Writable(Protocol):
    @property
    def write(self) -> Callable[[bytes], None]:
        """Takes encoded frames. Must not raise, and does nothing after the socket began to close."""


class NoDescriptor(Exception):
    """There is no file descriptor for the moment in which a socket needs two."""


class ClientSocket:
    """The socket of a client for the gateway, the reader of its transport, and a connection for uvicorn."""

    __slots__ = (
        "_client",
        "_connections",
        "_protocol",
        "_transport",
        "close_reason",
        "closing_since",
        "open_transport",
        "paused",
        "write",
    )

    def __init__(
        self, client: Client, connected: socket.socket, *, message_max_bytes: int, connections: set[Any]
    ) -> None:
        """`message_max_bytes`: of text messages. `connections`: those that uvicorn shuts down when it stops."""
        self._client = client
        self._connections = connections
        binary_max_bytes = client.binary_max_bytes
        if binary_max_bytes:
            self._protocol = WebSocketProtocol(binary_max_bytes, Opcode.BINARY)
        else:
            self._protocol = WebSocketProtocol(message_max_bytes)
        self._transport = SocketTransport(asyncio.get_running_loop(), connected, self)
        self.open_transport: SocketTransport | None = None
        """The transport while frames may be written to it at once. `write_frames` needs no more."""
        self.write: Callable[[bytes], None] = self._transport.write
        """Takes one or more encoded frames. Drops them after the closing handshake began."""
        self.paused = False
        """The client is a slow consumer: the write buffer is above its high-water mark."""
        self.closing_since: float | None = None
        """Monotonic seconds when the closing handshake began; None while the connection is open."""
        self.close_reason: str | None = None
        """The reason for which the gateway has closed the socket; None if it has not."""

    def open(self, accepted: bytes) -> None:
        """Write `accepted`, the response to the handshake, and the first frames of the client, all at once.

        Reads nothing before `release`.
        """
        self._connections.add(self)
        first = [accepted]
        self.write = collect = first.append
        self._notify(partial(self._client.opened, self))
        if self.write is collect:
            self.write = self._transport.write
            self.open_transport = self._transport
        self._transport.write(b"".join(first))

    # --- for the gateway ----------------------------------------------------------------------------------

    @property
    def buffered_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    @property
    def progress_bytes(self) -> int:
        return self._transport.get_progress_bytes()

    def hold(self) -> None:
        if self.closing_since is None:
            self._transport.pause_reading()

    def release(self) -> None:
        if self.closing_since is None:
            self._transport.resume_reading()

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake. The socket ends when the client answers. If it does not, call `abort`."""
        if self.closing_since is not None:
            return
        self.close_reason = reason
        self.write(self._protocol.close(code, reason))
        self.release()  # to read the answer
        self._begin_closing()
        if code == CloseCode.FLOOD:
            # Read nothing more, not even the client's close frame.
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(_FLOOD_LINGER_SECONDS, self.abort)

    def abort(self) -> None:
        """End the socket now, without the buffered frames."""
        self._begin_closing()
        self._transport.abort()

    # --- for uvicorn --------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """uvicorn stops. The gateway has drained before, and remaining clients get the same close code."""
        self.close(CloseCode.SERVICE_RESTART)

    # --- for the transport --------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        events = self._protocol.receive_data(data)
        if not events:
            return
        client = self._client
        client.silent_beats = 0
        for event in events:
            try:
                if type(event) is not bytes:
                    self._carry_out(event)
                elif self.closing_since is None:
                    client.received(event)
            except Exception:
                log.exception(_FAULT)
                self.close(CloseCode.INTERNAL_ERROR)

    def pause_writing(self) -> None:
        self.paused = True
        self._notify(self._client.congested)

    def resume_writing(self) -> None:
        self.paused = False
        self._notify(self._client.relieved)

    def connection_lost(self, _error: Exception | None) -> None:
        self._begin_closing()
        self._connections.discard(self)
        self._notify(partial(self._client.closed, self._protocol.close_code or CloseCode.ABNORMAL))

    def _carry_out(self, event: Event) -> None:
        if isinstance(event, Closed):
            self.write(event.answer)
            self._begin_closing()
            self._end_soon()
        elif isinstance(event, Broken):
            self.close(event.code, event.reason)
            self._end_soon()
        else:
            self._client.received_overhead()
            if isinstance(event, Ping) and not self.paused:  # a slow consumer gets no pongs
                self.write(event.answer)

    def _notify(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            log.exception(_FAULT)
            self.close(CloseCode.INTERNAL_ERROR)

    def _begin_closing(self) -> None:
        self.write = _write_nowhere
        self.open_transport = None
        self.closing_since = self.closing_since or time.monotonic()

    def _end_soon(self) -> None:
        asyncio.get_running_loop().call_later(_CLOSE_LINGER_SECONDS, self._transport.close)


def write_frames(socket: Writable, frames: bytes) -> None:
    """`socket.write(frames)`, which takes half as long for an open WebSocket if it is compiled."""
    if isinstance(socket, ClientSocket):
        client = socket
        transport = client.open_transport
        if transport is not None:
            transport.write(frames)
            return
    socket.write(frames)


def _write_nowhere(_frames: bytes) -> None:
    """Drops frames after the closing handshake began."""


def open_websocket(
    http: asyncio.Transport,
    client: Client,
    response: bytes,
    rest: bytes,
    *,
    message_max_bytes: int,
    connections: set[Any],
) -> None:
    """Accept the upgrade, and take over the socket of the transport `http`, which must have written everything.

    `response`: to the handshake. `rest`: bytes that the client sent before it got the response. Raises
    NoDescriptor. Then nothing has changed.
    """
    try:
        connected = http.get_extra_info("socket").dup()
    except OSError as error:
        raise NoDescriptor from error
    http.close()  # it has written everything, and `connected` is another descriptor of the socket
    open_on_socket(connected, client, response, rest, message_max_bytes=message_max_bytes, connections=connections)


def open_on_socket(
    connected: socket.socket,
    client: Client,
    response: bytes,
    rest: bytes,
    *,
    message_max_bytes: int,
    connections: set[Any],
) -> None:
    """Accept the upgrade and take over the socket. See `open_websocket`."""
    with SEPARATE_MEMORY:
        websocket = ClientSocket(client, connected, message_max_bytes=message_max_bytes, connections=connections)
    try:
        websocket.open(response)
        websocket.release()
        websocket.data_received(rest)
    except Exception:
        websocket.abort()
        raise


def answer_handshake(
    admit: Callable[[Handshake], Client | Refused],
    handshake: Handshake,
    connected: socket.socket,
    rest: bytes,
    *,
    message_max_bytes: int,
    connections: set[Any],
) -> None:
    """Answer a handshake that another process has read, and take over its socket. See `open_websocket`."""
    try:
        decision = admit(handshake)
        if isinstance(decision, Refused):
            with suppress(OSError):  # The client has disconnected already.
                connected.send(decision.encode())
            connected.close()
            return
        open_on_socket(
            connected,
            decision,
            accepted(handshake),
            rest,
            message_max_bytes=message_max_bytes,
            connections=connections,
        )
    except Exception:
        log.exception("an upgrade failed with an internal error")
        connected.close()
