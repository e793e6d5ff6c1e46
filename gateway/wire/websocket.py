"""The WebSocket adapter: the only module that knows picows and aiofastnet.

picows parses frames; this module does what RFC 6455 leaves to the endpoint. Everything is written with the
transport's own `write`, so one encoded frame serves every client.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import aiofastnet
from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined] # picows ships no stub for it

from studyroom.gateway.wire.framing import (
    Assembler,
    Opcode,
    Violation,
    close_payload,
    encode_frame,
    may_be_sent,
    parse_close,
)
from studyroom.gateway.wire.transport import SocketTransport
from studyroom.shared.chassis import logs
from studyroom.shared.contract.close_codes import CloseCode

log = logs.get(__name__)

_FAULT = "a connection failed on our side"
_READ_BUFFER_BYTES = 2048
_CLOSE_LINGER_SECONDS = 0.05
"""Between our answer to a close frame and the end of the socket, so that the answer is on its way."""
_FLOOD_LINGER_SECONDS = 1.0
"""For who sends far too much, to read our close frame."""

_SUBPROTOCOL = "Sec-WebSocket-Protocol"
_TEXT, _CLOSE, _PING, _PONG = WSMsgType.TEXT, WSMsgType.CLOSE, WSMsgType.PING, WSMsgType.PONG


def use_fast_transports() -> None:
    """Give the running event loop aiofastnet's transports. Before the first listener is made."""
    loop = aiofastnet.patch_loop()
    loop.connect_accepted_socket = partial(  # type: ignore[method-assign] # the one that `patch_loop` passes over
        aiofastnet.connect_accepted_socket, loop
    )


class Client(Protocol):
    """What the gateway puts behind a socket. All calls come from the event loop and must not block or raise."""

    silent_beats: int
    """Set to 0 with every frame that comes in, a pong too."""

    def opened(self, socket: "ClientSocket") -> None: ...
    def received(self, payload: bytes) -> None:
        """A complete text message. Raises UnicodeDecodeError when it is not UTF-8."""

    def burdened(self) -> None:
        """A frame that is work and no message by itself: a fragment, a ping or a pong."""

    def congested(self) -> None:
        """The peer reads more slowly than it is written to: the write buffer is above its high-water mark."""

    def relieved(self) -> None:
        """The write buffer is below its low-water mark again."""

    def closed(self, code: int) -> None:
        """The connection is gone, with the code of the close frame that ended it, or 1006."""


@dataclass(frozen=True, slots=True)
class FrameLimits:
    message_max_bytes: int
    headers_max_bytes: int
    body_max_bytes: int
    """Of a plain HTTP request."""
    handshake_seconds: float
    """From accept, or from the first byte of a later request, to a complete head, and from there to its end."""


class ClientSocket(WSListener):
    """One open WebSocket, as the gateway sees it; also what picows takes for its logger, see `error`."""

    __slots__ = ("_assembler", "_client", "_limits", "_transport", "closing_since", "paused", "write")

    def __init__(self, client: Client, limits: FrameLimits) -> None:
        self._client = client
        self._limits = limits
        self._assembler: Assembler | None = None
        self._transport: WSTransport | None = None
        self.write: Callable[[bytes], None] = _write_nowhere
        """Encoded frames, one or more. Dropped once the closing handshake has begun."""
        self.paused = False
        """The peer reads more slowly than it is written to: the write buffer is above its high-water mark."""
        self.closing_since: float | None = None
        """Monotonic seconds when the closing handshake began; None while the connection is open."""

    # --- for the gateway ----------------------------------------------------------------------------------

    @property
    def buffered_bytes(self) -> int:
        if self._transport is None:
            return 0
        size: int = self._transport.underlying_transport.get_write_buffer_size()
        return size

    @property
    def progress_bytes(self) -> int:
        if self._transport is None:
            return 0
        transport: Any = self._transport.underlying_transport
        progress: int = transport.get_progress_bytes()
        return progress

    def hold(self) -> None:
        if self._transport is not None and self.closing_since is None:
            self._transport.underlying_transport.pause_reading()

    def release(self) -> None:
        if self._transport is not None and self.closing_since is None:
            self._transport.underlying_transport.resume_reading()

    def _begin_closing(self) -> None:
        self.write = _write_nowhere
        self.closing_since = self.closing_since or time.monotonic()

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake. The socket ends when the peer answers, or at the latest by `abort`."""
        if self._transport is None or self.closing_since is not None:
            return
        self._transport.send_close(code, close_payload(code, reason)[2:])  # type: ignore[arg-type] # plain ints work
        self.release()  # to read the answer
        self._begin_closing()
        if code == CloseCode.FLOOD:
            # Whatever else comes is not even read, not the answer either.
            self._transport.underlying_transport.pause_reading()
            asyncio.get_running_loop().call_later(_FLOOD_LINGER_SECONDS, self.abort)

    def abort(self) -> None:
        """End the socket now; what is buffered is lost."""
        if self._transport is not None:
            self._begin_closing()
            self._transport.disconnect(graceful=False)

    # --- for picows' logger: what matters of what it logs is counted and logged by us ---

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802 - the name is the standard library's
        return False

    def debug(self, *_: object) -> None:
        pass

    info = warning = debug

    def error(self, *_: object) -> None:
        """picows found a broken frame and closes the connection by itself. It tells nobody else.

        It reads one frame ahead. If the one before was the peer's close frame, that is answered and nothing else: what
        comes behind it is to be ignored (RFC 6455 section 1.4).
        """
        transport = self._transport
        handshake = transport.close_handshake if transport is not None else None
        if (
            transport is not None
            and handshake is not None
            and handshake.recv is not None
            and self.closing_since is None
        ):
            code = _number(handshake.recv.code) or CloseCode.NORMAL
            transport.send_close(code if may_be_sent(code) else CloseCode.PROTOCOL_ERROR, b"")  # type: ignore[arg-type] # plain ints work
        self._begin_closing()

    exception = error

    # --- for picows, which would keep exceptions to itself ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        # The heads of the handshake have done their work; kept, they are 2 KB for each connection.
        del transport.request.headers
        del transport.response.headers
        self.write = transport.underlying_transport.write
        try:
            self._client.opened(self)
        except Exception:
            log.exception(_FAULT)
            self.close(CloseCode.INTERNAL_ERROR)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        client = self._client
        client.silent_beats = 0
        try:
            payload = self._take(transport, frame)
            if payload is not None and self.closing_since is None:
                client.received(payload)
        except Violation as violation:
            self._fail(transport, violation)
        except UnicodeDecodeError:
            self._fail(transport, Violation(CloseCode.INVALID_TEXT, "text is not UTF-8"))
        except Exception:
            log.exception(_FAULT)
            self.close(CloseCode.INTERNAL_ERROR)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._begin_closing()
        self._transport = None
        handshake = transport.close_handshake
        code = int(CloseCode.ABNORMAL)
        if handshake is not None:
            first = handshake.recv if handshake.recv_then_sent or handshake.sent is None else handshake.sent
            code = _number(first.code if first is not None else 0) or int(CloseCode.NO_STATUS)
        try:
            self._client.closed(code)
        except Exception:
            log.exception(_FAULT)

    def pause_writing(self) -> None:
        self.paused = True
        self._client.congested()

    def resume_writing(self) -> None:
        self.paused = False
        self._client.relieved()

    def _take(self, transport: WSTransport, frame: WSFrame) -> bytes | None:
        """The message that the frame completes. Raises Violation."""
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise Violation(CloseCode.PROTOCOL_ERROR, "reserved bits without an extension")
        kind = frame.msg_type
        if kind == _TEXT and frame.fin and self._assembler is None:
            if frame.payload_size > self._limits.message_max_bytes:
                raise Violation(CloseCode.MESSAGE_TOO_BIG, f"message over {self._limits.message_max_bytes} bytes")
            return frame.get_payload_as_bytes()
        if kind == _CLOSE:
            self._answer_close(transport, frame)
            return None
        self._client.burdened()
        if kind == _PING:
            self._answer_ping(frame)
        elif kind != _PONG:
            return self._assemble(frame)
        return None

    def _assemble(self, frame: WSFrame) -> bytes | None:
        if self._assembler is None:
            self._assembler = Assembler(self._limits.message_max_bytes)
        text = self._assembler.feed(_number(frame.msg_type), frame.get_payload_as_bytes(), final=bool(frame.fin))
        if not self._assembler.in_message:
            self._assembler = None
        return text.encode() if text is not None else None

    def _answer_ping(self, frame: WSFrame) -> None:
        """Only a peer that reads gets answers; RFC 6455 section 5.5.3 allows to skip some."""
        if not self.paused:
            self.write(encode_frame(Opcode.PONG, frame.get_payload_as_bytes()))

    def _answer_close(self, transport: WSTransport, frame: WSFrame) -> None:
        if self.closing_since is None:
            code, _ = parse_close(frame.get_payload_as_bytes())
            self._begin_closing()
            if code == CloseCode.NO_STATUS:
                # Answering with an empty body is what an empty body asks for (section 5.5.1).
                transport.underlying_transport.write(b"\x88\x00")
            else:
                transport.send_close(code, b"")  # type: ignore[arg-type] # plain ints work
        asyncio.get_running_loop().call_later(_CLOSE_LINGER_SECONDS, transport.disconnect)

    def _fail(self, transport: WSTransport, violation: Violation) -> None:
        self.close(violation.code, str(violation))
        asyncio.get_running_loop().call_later(_CLOSE_LINGER_SECONDS, transport.disconnect)


def _number(vendor_enum: Any) -> int:
    """picows hands over plain integers where its stubs say enum."""
    return int(vendor_enum)


def _write_nowhere(_frames: bytes) -> None:
    """The connection is not open (yet, or any more)."""


class NoDescriptor(Exception):
    """None is left for the moment in which a socket needs two."""


class WebSocketProtocol(WSProtocol):  # type: ignore[misc] # picows ships no stubs for it
    """picows' protocol as uvicorn drives it: registered with the server, told to shut down by it."""

    __slots__ = ("_server_state", "_socket")

    def __init__(self, client: Client, limits: FrameLimits, server_state: Any) -> None:
        self._socket = ClientSocket(client, limits)
        self._server_state = server_state
        super().__init__(
            None,  # host and port: we are the server
            None,
            False,  # not the client side
            self._accept,
            self._socket,  # for its logger: a real one would get a child of its own for each connection
            True,  # disconnect on exceptions
            None,  # no handshake timer: the head is complete already
            False,  # no automatic pings: one sweep serves all connections
            None,
            None,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # pings are answered here, to those who read
            limits.message_max_bytes,
            None,
            _READ_BUFFER_BYTES,
        )

    def connection_made(self, transport: Any) -> None:
        self._server_state.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        super().connection_lost(exc)

    def take_over(self, http: Any, key: str, subprotocol: str | None, rest: bytes = b"") -> None:
        """Answer the upgrade and own the socket of the transport `http` from now on. That has written everything.

        Raises NoDescriptor, and nothing has happened.

        `key`: the request's `Sec-WebSocket-Key`. `subprotocol`: of those that were offered the one that is spoken.
        `rest`: what the client has sent without waiting for the answer.

        picows parses a request head too. It gets a short one, made of what was checked before, so its own limits on
        size and spelling do not matter.
        """
        try:
            connected = http.get_extra_info("socket").dup()
        except OSError as error:
            raise NoDescriptor from error
        transport = SocketTransport(asyncio.get_running_loop(), connected, self)
        try:
            self.connection_made(transport)
            selected = f"{_SUBPROTOCOL}: {subprotocol}\r\n" if subprotocol is not None else ""
            self._feed(
                "GET / HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{selected}\r\n".encode("latin-1")
            )
        except Exception:
            # The caller ends `http`; this socket is another one. picows must not hear of the end of what never began.
            self._socket.abort()
            connected.close()
            raise
        http.close()
        self._feed(rest)
        transport.resume_reading()

    def _feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            room = self.get_buffer(len(view))
            size = min(len(room), len(view))
            room[:size] = view[:size]
            self.buffer_updated(size)
            view = view[size:]

    def shutdown(self) -> None:
        """uvicorn stops. The gateway has drained before; whoever is left is told the same."""
        self._socket.close(CloseCode.SERVICE_RESTART)

    def abort(self) -> None:
        self._socket.abort()

    def _accept(self, request: Any) -> WSUpgradeResponseWithListener:
        """What is to be answered was put into the request, so that nothing has to be kept for it."""
        selected = request.headers.get(_SUBPROTOCOL)
        extra = {_SUBPROTOCOL: selected} if selected is not None else None
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(extra), self._socket)
