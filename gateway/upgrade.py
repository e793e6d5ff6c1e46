"""Requests and upgrades: uvicorn's HTTP protocol with bounds, and the decision about a handshake.

uvicorn parses the head and answers plain HTTP. An upgrade is decided here, before the WebSocket adapter sees it.
"""

import asyncio
import json
import time
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.credentials import SUBPROTOCOL, combined, offered_subprotocols
from gateway.websocket import Client, FrameLimits, WebSocketProtocol
from services import logs
from shared.errors import ErrorCode

log = logs.get(__name__)

_READ_MAX_BYTES = 256 * 1024
"""What a transport reads at once: a request head may come together with so much of what follows."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """An upgrade request that is well formed; whether it is welcome is for the edge to say."""

    path: str
    query: dict[str, str] = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    """Names in lower case, repeated ones combined."""


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


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a bound on requests in time and size, and our upgrade."""

    def __init__(self, edge: Edge, limits: FrameLimits, awaited: "AwaitedRequests", **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._edge = edge
        self._limits = limits
        self._awaited = awaited
        self._head_bytes = 0
        self._body_bytes = 0
        self._unparsed_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._awaited.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._awaited.discard(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_bytes = self._body_bytes = 0
        self._awaited.add(self)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unparsed_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes <= self._limits.message_max_bytes:
            super().on_body(body)
        elif not self.transport.is_closing():
            self._refuse_body()

    def on_message_complete(self) -> None:
        self._awaited.discard(self)
        if self._body_bytes <= self._limits.message_max_bytes:  # else what the app has is a part of it
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self in self._awaited:
            # The parser hands over whole header lines only, and a line may never end.
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > self._limits.headers_max_bytes + _READ_MAX_BYTES:
                self._refuse_head()
                return
        super().data_received(data)

    def handle_websocket_upgrade(self) -> None:
        self._awaited.discard(self)
        if self.transport.is_closing():
            return
        headers = combined((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)
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
        body = json.dumps({"code": refused.code, "message": refused.message}).encode()
        head = [f"HTTP/1.1 {refused.status} {_PHRASES.get(refused.status, 'Refused')}"]
        head += [f"{name}: {value}" for name, value in refused.headers]
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
        self.transport.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
        self.transport.close()

    def _decide(self, headers: dict[str, str]) -> Client | Refused:
        if (problem := _handshake_problem(self.parser.get_method(), headers)) is not None:
            return problem
        busy: RequestResponseCycle | None = self.cycle
        if busy is not None and not busy.response_complete:
            return Refused(400, ErrorCode.BAD_HANDSHAKE, "an upgrade must wait for the answers to earlier requests")
        try:
            target = urlsplit(self.url.decode("latin-1"))
            query = dict(parse_qsl(target.query, keep_blank_values=True))
        except ValueError:
            return Refused(400, ErrorCode.BAD_HANDSHAKE, "the request target cannot be read")
        return self._edge.admit(Handshake(target.path, query, headers))

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.headers_max_bytes and not self.transport.is_closing():
            self._refuse_head()

    def _refuse_body(self) -> None:
        """Whoever is not known yet may send no more than a message (an app reads it all before it asks who that is)."""
        self._awaited.discard(self)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_started:
            self.transport.close()
            return
        limit = self._limits.message_max_bytes
        self.refuse(Refused(413, ErrorCode.INVALID_REQUEST, f"request body over {limit} bytes"))

    def _refuse_head(self) -> None:
        self._awaited.discard(self)
        limit = self._limits.headers_max_bytes
        self.refuse(Refused(431, ErrorCode.HEADERS_TOO_LARGE, f"request head over {limit} bytes"))


_PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
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


class AwaitedRequests:
    """Connections that owe a request, or what is left of one, oldest first. One sweep serves them all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[HttpProtocol, float] = {}

    def __contains__(self, protocol: HttpProtocol) -> bool:
        return protocol in self._since

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
