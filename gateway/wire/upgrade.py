"""uvicorn's HTTP protocol with limits on requests, and with the upgrade to WebSocket.

uvicorn answers plain HTTP. `HttpProtocol` decides about an upgrade before a WebSocket exists.

llhttp, the parser, assumes that every offered upgrade happens, so it stops after the head and does not read the body.
Most offers are not accepted (every POST of Java's `HttpClient` offers `h2c`), and then RFC 9110 section 7.8 requires a
response as if nothing had been offered. So a new parser reads the head again without its `Upgrade`, and goes on with
the body and the next request.
"""

import asyncio
import re
import socket
from dataclasses import dataclass
from typing import Any, Protocol, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from studyroom.gateway.wire.handshake import Handshake, Refused, RequestHead, accepted, parse_target, read_handshake
from studyroom.gateway.wire.header_fields import combined, elements
from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets, UnreadAnswers
from studyroom.gateway.wire.websocket import Client, NoDescriptor, open_websocket
from studyroom.shared.chassis import logs
from studyroom.shared.contract.errors import ErrorCode

log = logs.get(__name__)

ABORT = "studyroom.abort"
"""The ASGI extension of plain requests: a function that ends the socket at once."""
_REFUSAL_LINGER_SECONDS = 1.0
_READ_MAX_BYTES = 256 * 1024
"""The size of a transport's reads: a request head may come together with this much data that follows it."""
_DOCUMENT = re.compile(r"/api/v1/rooms/[^/]+/documents/[^/]+$")
_PIPELINE_MAX = 32
"""How many requests may wait for the response to an earlier one of the same socket."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    message_max_bytes: int
    headers_max_bytes: int
    body_max_bytes: int
    """For plain HTTP requests."""
    document_max_bytes: int = 0
    """The same for those about shared documents; 0 for no difference."""

    def body_max_bytes_at(self, path: str) -> int:
        return max(self.body_max_bytes, self.document_max_bytes if _DOCUMENT.match(path) else 0)


class Edge(Protocol):
    """The decisions of the gateway about requests."""

    def has_websocket(self, path: str) -> bool:
        """Whether upgrades to WebSocket are possible at this path. Elsewhere the offer is ignored."""

    def hand_over(self, handshake: Handshake, connected: socket.socket, rest: bytes) -> bool:
        """Give the handshake to another process, if that should answer it. Returns whether it did.

        `rest`: the bytes after the head. The other process has a descriptor of its own.
        """

    def admit(self, handshake: Handshake) -> Client | Refused: ...
    def check(self, head: RequestHead) -> Refused | None:
        """Why a plain HTTP request is refused; None if it may reach the app."""

    def request_refused(self, code: ErrorCode) -> None:
        """Count a plain HTTP request that was refused before it reached the app."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on the time and size of requests, a check of their heads, and upgrades."""

    def __init__(
        self,
        edge: Edge,
        limits: WireLimits,
        awaited: AwaitedRequests,
        unread: UnreadAnswers,
        plain: PlainSockets,
        *,
        waits_since: float | None = None,
        **uvicorn_arguments: Any,
    ) -> None:
        """`waits_since`: when the deadline for the first request began (monotonic seconds); None for now."""
        super().__init__(**uvicorn_arguments)
        self._edge = edge
        self._limits = limits
        self._awaited = awaited
        self._unread = unread
        self._plain = plain
        self._waits_since = waits_since
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._body_bytes = 0
        self._body_max_bytes = limits.body_max_bytes
        self._in_head = False
        self._refused = False
        """Ignore all further bytes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)
        self._awaited.add(self, since=self._waits_since)
        self._plain.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._awaited.discard(self)
        self._unread.discard(self)
        self._plain.discard(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client leaves bytes unread. The limit of the write buffer is 0, so the first byte counts."""
        super().pause_writing()
        self._unread.add(self)

    def resume_writing(self) -> None:
        self._unread.discard(self)
        super().resume_writing()

    def on_message_begin(self) -> None:
        self._head_bytes = self._body_bytes = 0
        self._in_head = True
        if not self._refused:
            self._awaited.add(self)
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._refused:
            self._count_head(len(url))
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._refused:
            self._count_head(len(name) + len(value))
            if self._in_head:  # trailers after the body are ignored
                super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._awaited.discard(self)
        self._unparsed_bytes = 0
        self._in_head = False
        if self._refused or self.parser.should_upgrade():  # `_decide_upgrade` handles it after the parser has stopped
            return
        if len(self.pipeline) >= _PIPELINE_MAX:
            self._refuse_request(Refused(429, ErrorCode.RATE_LIMITED, "too many requests at once"), midway=True)
            return
        refused = self._check_head()
        if refused is not None:
            self._refuse_request(refused, midway=self._answering)
            return
        self._awaited.add(self)  # for the body
        super().on_headers_complete()
        cast("dict[str, object]", self.scope)["extensions"] = {ABORT: self.transport.abort}

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        self._unparsed_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > self._body_max_bytes:
            self._refuse_body(self._body_too_large())
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._awaited.discard(self)
        if not self._refused and not self.parser.should_upgrade():
            if not self._answering:
                # The response was complete before the body, so uvicorn's timer has ended. The next request is due.
                self._awaited.add(self)
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        if not self._answering:
            # A request is due also after bytes that begin none, such as an empty line.
            self._awaited.add(self)
        if self in self._awaited:
            # The parser passes on complete header lines only, and a line may never end.
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > self._limits.headers_max_bytes + _READ_MAX_BYTES:
                self._refuse_head()
                return
        self._unset_keepalive_if_required()
        try:
            self._parse(memoryview(data))
        except HttpParserCallbackError:
            log.exception("a request failed with an internal error")
            self.transport.abort()
        except HttpParserError:
            if not self._refused:
                self._refuse_malformed()

    def _parse(self, data: memoryview) -> None:
        """Raises HttpParserError."""
        while not self._refused and not self.transport.is_closing():
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as stopped:
                data = data[stopped.args[0] :]
            self._decide_upgrade(data)

    def _decide_upgrade(self, rest: memoryview) -> None:
        """`rest`: the bytes after the head. Raises HttpParserError."""
        if self._refused:
            return
        if self._is_handshake():
            self._handshake(bytes(rest))
        elif self.parser.get_method() == b"CONNECT":
            refused = Refused(501, ErrorCode.INVALID_REQUEST, "CONNECT is for proxies, and this server is not one")
            self._refuse_request(refused, midway=self._answering)
        else:
            self._parse_without_upgrade()

    def _is_handshake(self) -> bool:
        offered = [offer.lower() for offer in elements(self._combined_headers(), "upgrade")]
        if self.parser.get_method() != b"GET" or "websocket" not in offered:
            return False
        target = parse_target(self.url)
        return target is None or self._edge.has_websocket(target.path)

    def _parse_without_upgrade(self) -> None:
        """Parse the head again without the offer of an upgrade. Raises HttpParserError."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
        self.parser.feed_data(b"\r\n".join(lines) + b"\r\n\r\n")

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _handshake(self, rest: bytes) -> None:
        """`rest`: the bytes after the head."""
        self._awaited.discard(self)
        handshake = self._read_handshake()
        if isinstance(handshake, Refused):
            self.refuse(handshake)
            return
        if self._edge.hand_over(handshake, self.transport.get_extra_info("socket"), rest):
            self.transport.close()
            return
        decision = self._edge.admit(handshake)
        if isinstance(decision, Refused):
            self.refuse(decision)
            return
        self.connections.discard(self)
        try:
            open_websocket(
                self.transport,
                decision,
                accepted(handshake),
                rest,
                message_max_bytes=self._limits.message_max_bytes,
                connections=self.connections,
            )
        except NoDescriptor:
            retry = ("Retry-After", "1")
            self.refuse(Refused(503, ErrorCode.TOO_MANY_CONNECTIONS, "this gateway is full, try again later", (retry,)))
        except Exception:
            log.exception("an upgrade failed with an internal error")
            self.transport.abort()

    def refuse(self, refused: Refused) -> None:
        self._write_refusal(refused)
        self.transport.close()

    def _write_refusal(self, refused: Refused) -> None:
        self._refused = True
        self.transport.write(refused.encode())

    def _refuse_request(self, refused: Refused, *, midway: bool) -> None:
        """`midway`: a response is being written, so that another cannot be sent."""
        self._edge.request_refused(refused.code)
        if midway:
            self._refused = True
            self.transport.close()
            return
        self._write_refusal(refused)
        # If the socket closed while the client is still sending, the client could lose the response.
        self.loop.call_later(_REFUSAL_LINGER_SECONDS, self.transport.close)

    def _refuse_body(self, refused: Refused) -> None:
        """Refuse the rest of a request that the app has begun to answer. For the app the client disconnects."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        self._refuse_request(refused, midway=bool(self.pipeline) or self.cycle.response_started)

    def _refuse_malformed(self) -> None:
        """Replaces the method of uvicorn that would log each of them."""
        refused = Refused(400, ErrorCode.INVALID_REQUEST, "the request is not valid HTTP/1.1")
        self._awaited.discard(self)
        if self._answering and self.cycle.more_body:
            self._refuse_body(refused)
        else:
            self._refuse_request(refused, midway=self._answering)

    def _check_head(self) -> Refused | None:
        target = parse_target(self.url)
        if target is None:
            return Refused(400, ErrorCode.INVALID_REQUEST, "the request target cannot be read")
        headers = self._combined_headers()
        refused = self._edge.check(RequestHead(target.path, headers, self.peer))
        self._body_max_bytes = self._limits.body_max_bytes_at(target.path)
        if refused is None and int(headers.get("content-length", "0")) > self._body_max_bytes:
            return self._body_too_large()
        return refused

    def _body_too_large(self) -> Refused:
        return Refused(413, ErrorCode.BODY_TOO_LARGE, f"request body over {self._body_max_bytes} bytes")

    def _combined_headers(self) -> dict[str, str]:
        return combined((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)

    @property
    def _answering(self) -> bool:
        """The response to an earlier request is not complete."""
        earlier: RequestResponseCycle | None = self.cycle
        return earlier is not None and not earlier.response_complete

    @property
    def busy(self) -> bool:
        return self._answering or bool(self.pipeline)

    @property
    def peer(self) -> str | None:
        return self.client[0] if self.client is not None else None

    def _read_handshake(self) -> Handshake | Refused:
        headers = self._combined_headers()
        method, version = self.parser.get_method(), self.parser.get_http_version()
        handshake = read_handshake(method, version, self.url, headers, self.peer)
        waits = self._answering or self.transport.get_write_buffer_size() > 0
        if waits and isinstance(handshake, Handshake):
            return Refused(400, ErrorCode.BAD_HANDSHAKE, "an upgrade must wait for the responses to earlier requests")
        return handshake

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.headers_max_bytes and not self._refused:
            self._refuse_head()

    def _refuse_head(self) -> None:
        self._awaited.discard(self)
        limit = self._limits.headers_max_bytes
        self._edge.request_refused(ErrorCode.HEADERS_TOO_LARGE)
        self.refuse(Refused(431, ErrorCode.HEADERS_TOO_LARGE, f"request head over {limit} bytes"))
