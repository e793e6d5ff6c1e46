"""Request heads and upgrades: uvicorn's HTTP protocol with bounds, and the decision about a handshake.

uvicorn parses the head and answers plain HTTP. An upgrade is decided here, before the WebSocket adapter sees it.
"""

import asyncio
import json
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from httptools import HttpParserInvalidURLError, parse_url
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.credentials import SUBPROTOCOL, combined, offered_subprotocols
from gateway.sockets import AwaitedRequests, UnreadAnswers
from gateway.websocket import Client, FrameLimits, WebSocketProtocol
from services import logs
from shared.errors import ErrorCode

log = logs.get(__name__)

_REFUSAL_LINGER_SECONDS = 1.0
_READ_MAX_BYTES = 256 * 1024
"""What a transport reads at once: a request head may come together with so much of what follows."""
_PIPELINE_MAX = 32
"""Requests that wait for the answer to an earlier one of the same socket."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    path: str
    headers: dict[str, str] = field(repr=False)
    """Names in lower case, repeated ones combined."""
    peer: str | None
    """The address of the other end of the socket: the client's, or a proxy's."""


@dataclass(frozen=True, slots=True)
class Handshake(RequestHead):
    """An upgrade request that is well formed; whether it is welcome is for the edge to say."""

    query: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a handshake that is not accepted."""

    status: int
    code: ErrorCode
    message: str
    headers: tuple[tuple[str, str], ...] = ()


class Edge(Protocol):
    """What the adapter asks the gateway."""

    def admit(self, handshake: Handshake) -> Client | Refused: ...
    def check(self, head: RequestHead) -> Refused | None:
        """A plain request; None when it may go on to the app."""

    def request_refused(self, code: ErrorCode) -> None:
        """One of those that never came to the app."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with bounds on the request in time and size, a check of its head, and our upgrade."""

    def __init__(
        self,
        edge: Edge,
        limits: FrameLimits,
        awaited: AwaitedRequests,
        unread: UnreadAnswers,
        **uvicorn_arguments: Any,
    ) -> None:
        super().__init__(**uvicorn_arguments)
        self._edge = edge
        self._limits = limits
        self._awaited = awaited
        self._unread = unread
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._body_bytes = 0
        self._refused = False
        """What still comes is not looked at."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)
        self._awaited.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._awaited.discard(self)
        self._unread.discard(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """With the first byte that the client leaves unread."""
        super().pause_writing()
        self._unread.add(self)

    def resume_writing(self) -> None:
        self._unread.discard(self)
        super().resume_writing()

    def on_message_begin(self) -> None:
        self._head_bytes = self._body_bytes = 0
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
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._awaited.discard(self)
        self._unparsed_bytes = 0
        if self._refused:
            return
        if len(self.pipeline) >= _PIPELINE_MAX:
            self._refuse_request(Refused(429, ErrorCode.RATE_LIMITED, "too many requests at once"), midway=True)
            return
        if not (self.parser.should_upgrade() and self._should_upgrade()):
            refused = self._check_head()
            if refused is not None:
                self._refuse_request(refused, midway=self._answering)
                return
        self._awaited.add(self)  # for the body
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        self._unparsed_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_max_bytes:
            self.cycle.disconnected = True  # the app waits for the rest, and is told that none will come
            self.cycle.message_event.set()
            self._refuse_request(self._body_too_large(), midway=bool(self.pipeline) or self.cycle.response_started)
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._awaited.discard(self)
        if not self._refused:
            if not self._answering:
                # Answered before its body had come, which has ended uvicorn's timer: the next request is owed.
                self._awaited.add(self)
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        if not self._answering:
            # Also what begins no request, such as an empty line, is to be followed by one.
            self._awaited.add(self)
        if self in self._awaited:
            # The parser hands over whole header lines only, and a line may never end.
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > self._limits.headers_max_bytes + _READ_MAX_BYTES:
                self._refuse_head()
                return
        super().data_received(data)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def handle_websocket_upgrade(self) -> None:
        self._awaited.discard(self)
        if self._refused or self.transport.is_closing():
            return
        headers = self._combined_headers()
        decision = self._decide(headers)
        if isinstance(decision, Refused):
            self.refuse(decision)
            return
        self.connections.discard(self)
        protocol = WebSocketProtocol(decision, self._limits, self.server_state)
        try:
            subprotocol = SUBPROTOCOL if SUBPROTOCOL in offered_subprotocols(headers) else None
            protocol.take_over(self.transport, headers["sec-websocket-key"], subprotocol)
        except Exception:
            log.exception("an upgrade failed on our side")
            self.connections.discard(protocol)
            self.transport.abort()

    def refuse(self, refused: Refused) -> None:
        self._write_refusal(refused)
        self.transport.close()

    def _write_refusal(self, refused: Refused) -> None:
        self._refused = True
        body = json.dumps({"code": refused.code, "message": refused.message}).encode()
        head = [f"HTTP/1.1 {refused.status} {_PHRASES.get(refused.status, 'Refused')}"]
        head += [f"{name}: {value}" for name, value in refused.headers]
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
        self.transport.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)

    def _refuse_request(self, refused: Refused, *, midway: bool) -> None:
        """`midway`: an answer is being written, and another one cannot come between."""
        self._edge.request_refused(refused.code)
        if midway:
            self._refused = True
            self.transport.close()
            return
        self._write_refusal(refused)
        # A socket that is closed on a client that is still sending takes the answer with it.
        self.loop.call_later(_REFUSAL_LINGER_SECONDS, self.transport.close)

    def _check_head(self) -> Refused | None:
        headers = self._combined_headers()
        path = unquote(parse_url(self.url).path.decode("ascii"))  # as uvicorn does, so it is the path that the app sees
        refused = self._edge.check(RequestHead(path, headers, self._peer))
        if refused is None and int(headers.get("content-length", "0")) > self._limits.body_max_bytes:
            return self._body_too_large()
        return refused

    def _body_too_large(self) -> Refused:
        return Refused(413, ErrorCode.BODY_TOO_LARGE, f"request body over {self._limits.body_max_bytes} bytes")

    def _combined_headers(self) -> dict[str, str]:
        return combined((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)

    @property
    def _answering(self) -> bool:
        """The answer to an earlier request is not complete."""
        earlier: RequestResponseCycle | None = self.cycle
        return earlier is not None and not earlier.response_complete

    @property
    def _peer(self) -> str | None:
        return self.client[0] if self.client is not None else None

    def _decide(self, headers: dict[str, str]) -> Client | Refused:
        if (
            problem := _handshake_problem(self.parser.get_method(), self.parser.get_http_version(), headers)
        ) is not None:
            return problem
        if self._answering or self.transport.get_write_buffer_size() > 0:
            return Refused(400, ErrorCode.BAD_HANDSHAKE, "an upgrade must wait for the answers to earlier requests")
        try:
            # Not `urlsplit`: it remembers the last 128 that it was given, with their tokens.
            target = parse_url(self.url)
            query = dict(parse_qsl((target.query or b"").decode("ascii"), keep_blank_values=True))
        except (HttpParserInvalidURLError, ValueError):
            return Refused(400, ErrorCode.BAD_HANDSHAKE, "the request target cannot be read")
        return self._edge.admit(Handshake((target.path or b"").decode("ascii"), headers, self._peer, query))

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.headers_max_bytes and not self._refused:
            self._refuse_head()

    def _refuse_head(self) -> None:
        self._awaited.discard(self)
        limit = self._limits.headers_max_bytes
        self._edge.request_refused(ErrorCode.HEADERS_TOO_LARGE)
        self.refuse(Refused(431, ErrorCode.HEADERS_TOO_LARGE, f"request head over {limit} bytes"))


_PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    421: "Misdirected Request",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_KEY_BYTES = 16


def _handshake_problem(method: bytes, http_version: str, headers: dict[str, str]) -> Refused | None:
    """What RFC 6455 section 4.2.1 asks of an upgrade request, as far as the HTTP parser has not checked it."""
    if method != b"GET" or http_version != "1.1" or "host" not in headers:
        return Refused(400, ErrorCode.BAD_HANDSHAKE, "it must be a GET of HTTP/1.1, and name the host")
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
