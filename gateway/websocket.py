"""The WebSocket adapter: the only module that knows picows, aiofastnet and uvicorn's protocol classes.

uvicorn parses the request head and answers plain HTTP. An upgrade is decided here, before picows sees it; then
picows parses frames and this module does what RFC 6455 leaves to the endpoint. Everything is written with the
transport's own `write`, so one encoded frame serves every client.
"""

import asyncio
import json
import logging
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

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
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.framing import Assembler, Violation, close_payload, parse_close
from services import logs
from shared.close_codes import CloseCode
from shared.errors import ErrorCode

log = logs.get(__name__)

_READ_BUFFER_BYTES = 2048
_CLOSE_LINGER_SECONDS = 0.05
"""Between our answer to a close frame and the end of the socket, so that the answer is on its way."""

_quiet = logging.Logger("picows", logging.CRITICAL + 1)  # noqa: LOG001 - outside the hierarchy on purpose
"""picows logs each connection; what matters of that is counted and logged by us."""

_TEXT, _CLOSE, _PONG = WSMsgType.TEXT, WSMsgType.CLOSE, WSMsgType.PONG


def use_fast_transports() -> None:
    """Give the running event loop aiofastnet's transports. Before the first listener is made."""
    aiofastnet.patch_loop()


@dataclass(frozen=True, slots=True)
class Handshake:
    """An upgrade request that is well formed; whether it is welcome is for the edge to say."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case; of repeated headers the last."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a handshake that is not accepted."""

    status: int
    code: ErrorCode
    message: str
    headers: tuple[tuple[str, str], ...] = ()


class Client(Protocol):
    """What the gateway puts behind a socket. All calls come from the event loop and must not block or raise."""

    def opened(self, socket: "ClientSocket") -> None: ...
    def received(self, text: str) -> None: ...
    def heard(self) -> None:
        """Any frame came in, a pong too."""

    def closed(self, code: int) -> None:
        """The connection is gone, with the code of the close frame that ended it, or 1006."""


class Edge(Protocol):
    """What the adapter asks the gateway."""

    def admit(self, handshake: Handshake) -> Client | Refused: ...


@dataclass(frozen=True, slots=True)
class Limits:
    message_max_bytes: int
    headers_max_bytes: int
    handshake_seconds: float
    """From accept, or from the first byte of a later request, to a complete request head."""


class ClientSocket(WSListener):
    """One open WebSocket, as the gateway sees it."""

    __slots__ = (
        "_assembler",
        "_client",
        "_limits",
        "_transport",
        "_write",
        "closing_since",
        "paused",
    )

    def __init__(self, client: Client, limits: Limits) -> None:
        self._client = client
        self._limits = limits
        self._assembler: Assembler | None = None
        self._transport: WSTransport | None = None
        self._write: Callable[[bytes], None] = _write_nowhere
        self.paused = False
        """The peer reads more slowly than it is written to: the write buffer is above its high-water mark."""
        self.closing_since: float | None = None
        """Monotonic seconds when the closing handshake began; None while the connection is open."""

    # --- for the gateway ----------------------------------------------------------------------------------

    def write(self, frames: bytes) -> None:
        """Encoded frames, one or more. Dropped once the closing handshake has begun."""
        if self.closing_since is None:
            self._write(frames)

    @property
    def buffered_bytes(self) -> int:
        if self._transport is None:
            return 0
        size: int = self._transport.underlying_transport.get_write_buffer_size()
        return size

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake. The socket ends when the peer answers, or at the latest by `abort`."""
        if self._transport is None or self.closing_since is not None:
            return
        self.closing_since = time.monotonic()
        self._transport.send_close(code, close_payload(code, reason)[2:])  # type: ignore[arg-type] # plain ints work

    def abort(self) -> None:
        """End the socket now; what is buffered is lost."""
        if self._transport is not None:
            self.closing_since = self.closing_since or time.monotonic()
            self._transport.disconnect(graceful=False)

    # --- for picows ---------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._write = transport.underlying_transport.write
        self._client.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._client.heard()
        try:
            _check_reserved_bits(frame)
            kind = frame.msg_type
            text: str | None
            if kind == _TEXT and frame.fin and self._assembler is None:
                text = self._decode(frame)
            elif kind == _CLOSE:
                self._answer_close(transport, frame)
                return
            elif kind == _PONG:
                return
            else:
                text = self._assemble(frame)
        except Violation as violation:
            self._fail(transport, violation)
            return
        if text is not None and self.closing_since is None:
            self._client.received(text)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._write = _write_nowhere
        self.closing_since = self.closing_since or time.monotonic()
        self._transport = None
        handshake = transport.close_handshake
        code = int(CloseCode.ABNORMAL)
        if handshake is not None:
            first = handshake.recv if handshake.recv_then_sent or handshake.sent is None else handshake.sent
            code = _number(first.code if first is not None else 0) or int(CloseCode.NO_STATUS)
        self._client.closed(code)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def _decode(self, frame: WSFrame) -> str:
        if frame.payload_size > self._limits.message_max_bytes:
            raise Violation(CloseCode.MESSAGE_TOO_BIG, f"message over {self._limits.message_max_bytes} bytes")
        try:
            return frame.get_payload_as_utf8_text()
        except UnicodeDecodeError:
            raise Violation(CloseCode.INVALID_TEXT, "text is not UTF-8") from None

    def _assemble(self, frame: WSFrame) -> str | None:
        if self._assembler is None:
            self._assembler = Assembler(self._limits.message_max_bytes)
        text = self._assembler.feed(_number(frame.msg_type), frame.get_payload_as_bytes(), final=bool(frame.fin))
        if not self._assembler.in_message:
            self._assembler = None
        return text

    def _answer_close(self, transport: WSTransport, frame: WSFrame) -> None:
        if self.closing_since is None:
            code, _ = parse_close(frame.get_payload_as_bytes())
            self.closing_since = time.monotonic()
            if code == CloseCode.NO_STATUS:
                # Answering with an empty body is what an empty body asks for (section 5.5.1).
                transport.underlying_transport.write(b"\x88\x00")
            else:
                transport.send_close(code, b"")  # type: ignore[arg-type] # plain ints work
        asyncio.get_running_loop().call_later(_CLOSE_LINGER_SECONDS, transport.disconnect)

    def _fail(self, transport: WSTransport, violation: Violation) -> None:
        self.close(violation.code, str(violation))
        asyncio.get_running_loop().call_later(_CLOSE_LINGER_SECONDS, transport.disconnect)


def _check_reserved_bits(frame: WSFrame) -> None:
    if frame.rsv1 or frame.rsv2 or frame.rsv3:
        raise Violation(CloseCode.PROTOCOL_ERROR, "reserved bits without an extension")


def _number(vendor_enum: Any) -> int:
    """picows hands over plain integers where its stubs say enum."""
    return int(vendor_enum)


def _write_nowhere(_frames: bytes) -> None:
    """The connection is not open (yet, or any more)."""


class WebSocketProtocol(WSProtocol):  # type: ignore[misc] # picows ships no stubs for it
    """picows' protocol as uvicorn drives it: registered with the server, told to shut down by it."""

    def __init__(self, client: Client, limits: Limits, server_state: Any) -> None:
        self._socket = ClientSocket(client, limits)
        self._server_state = server_state
        super().__init__(
            None,  # host and port: we are the server
            None,
            False,  # not the client side
            self._accept,
            _quiet,
            True,  # disconnect on exceptions
            None,  # no handshake timer: the head is complete already
            False,  # no automatic pings: one sweep serves all connections
            None,
            None,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # answer pings
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

    def feed(self, data: bytes) -> None:
        """Bytes that were read before the transport was handed over."""
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

    def _accept(self, _request: Any) -> WSUpgradeResponseWithListener:
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(), self._socket)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a bound on the request head in time and size, and our upgrade."""

    def __init__(self, edge: Edge, limits: Limits, awaiting_head: "AwaitingHead", **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._edge = edge
        self._limits = limits
        self._awaiting_head = awaiting_head
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._awaiting_head.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._awaiting_head.discard(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._awaiting_head.add(self)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._awaiting_head.discard(self)
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._head_bytes > self._limits.headers_max_bytes or self.transport.is_closing():
            return
        super().data_received(data)

    def handle_websocket_upgrade(self) -> None:
        self._awaiting_head.discard(self)
        if self.transport.is_closing():
            return
        decision = self._decide()
        if isinstance(decision, Refused):
            self.refuse(decision)
            return
        self.connections.discard(self)
        protocol = WebSocketProtocol(decision, self._limits, self.server_state)
        protocol.connection_made(self.transport)
        # picows parses a request head too. It gets a short one, made of what was checked here, so its own limits
        # on size and spelling do not matter.
        protocol.feed(
            b"GET / HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % dict(self.headers)[b"sec-websocket-key"]
        )
        self.transport.set_protocol(protocol)

    def refuse(self, refused: Refused) -> None:
        body = json.dumps({"code": refused.code, "message": refused.message}).encode()
        head = [f"HTTP/1.1 {refused.status} {_PHRASES.get(refused.status, 'Refused')}"]
        head += [f"{name}: {value}" for name, value in refused.headers]
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
        self.transport.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
        self.transport.close()

    def _decide(self) -> Client | Refused:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}
        if (problem := _handshake_problem(self.parser.get_method(), headers)) is not None:
            return problem
        target = urlsplit(self.url.decode("latin-1"))
        handshake = Handshake(target.path, dict(parse_qsl(target.query, keep_blank_values=True)), headers)
        return self._edge.admit(handshake)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.headers_max_bytes and not self.transport.is_closing():
            self._awaiting_head.discard(self)
            limit = self._limits.headers_max_bytes
            self.refuse(Refused(431, ErrorCode.HEADERS_TOO_LARGE, f"request head over {limit} bytes"))


_PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_KEY_BYTES = 16


def _handshake_problem(method: bytes, headers: dict[str, str]) -> Refused | None:
    """What RFC 6455 section 4.2.1 asks of an upgrade request, as far as the HTTP parser has not checked it."""
    if method != b"GET":
        return Refused(400, ErrorCode.BAD_HANDSHAKE, "the method must be GET")
    if headers.get("sec-websocket-version") != "13":
        return Refused(
            426,
            ErrorCode.UPGRADE_REQUIRED,
            "only version 13 is spoken here",
            (("Sec-WebSocket-Version", "13"),),
        )
    try:
        key = b64decode(headers.get("sec-websocket-key", ""), validate=True)
    except (Base64Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        return Refused(400, ErrorCode.BAD_HANDSHAKE, "Sec-WebSocket-Key must be 16 bytes in base64")
    return None


class AwaitingHead:
    """Connections that owe a request head, oldest first. One sweep serves them all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[HttpProtocol, float] = {}

    def add(self, protocol: HttpProtocol) -> None:
        """Counts from the first call until `discard`."""
        self._since.setdefault(protocol, time.monotonic())

    def discard(self, protocol: HttpProtocol) -> None:
        self._since.pop(protocol, None)

    def abort_late(self) -> int:
        """End those that took too long; how many they were."""
        deadline = time.monotonic() - self._seconds
        late = []
        for protocol, since in self._since.items():
            if since > deadline:
                break
            late.append(protocol)
        for protocol in late:
            self.discard(protocol)
            protocol.transport.abort()
        return len(late)
