"""Bytes of an HTTP connection: the same requests in any pieces, with any offered upgrades."""

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from studyroom.gateway.wire.handshake import Handshake, Refused, RequestHead
from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets, UnreadAnswers
from studyroom.gateway.wire.upgrade import HttpProtocol, WireLimits
from studyroom.shared.contract.errors import ErrorCode

_LIMITS = WireLimits(message_max_bytes=1024, headers_max_bytes=4096, body_max_bytes=4096)
Request = tuple[str, bytes, bytes, bool]
"""Method, path as it was sent, body, and whether it is complete."""


class _Edge:
    def has_websocket(self, path: str) -> bool:
        return path == "/ws"

    def hand_over(self, _handshake: Handshake, _connected: Any, _rest: bytes) -> bool:
        return False

    def admit(self, _handshake: Handshake) -> Refused:
        return Refused(403, ErrorCode.BANNED, "nobody")

    def check(self, _head: RequestHead) -> None: ...
    def request_refused(self, _code: ErrorCode) -> None: ...


class _Transport:
    """Writes nowhere."""

    def __init__(self) -> None:
        self.closing, self.written = False, b""

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def set_write_buffer_limits(self, _high: int) -> None: ...


class _Reader(HttpProtocol):
    """Starts no app, and keeps the requests to it."""

    def __init__(self) -> None:
        config = uvicorn.Config(_nowhere, ws="none", log_config=None)
        self.asked: list[RequestResponseCycle] = []
        loop: Any = SimpleNamespace(call_later=lambda *_: None)
        super().__init__(
            _Edge(), _LIMITS, AwaitedRequests(60), UnreadAnswers(60, max_bytes=1 << 20),
            PlainSockets(1000, lambda _peer: None),
            config=config, server_state=ServerState(), app_state={}, _loop=loop,
        )  # fmt: skip

    def _start_asgi_task(self, cycle: RequestResponseCycle, _app: object) -> None:
        self.asked.append(cycle)


async def _nowhere(_scope: object, _receive: object, _send: object) -> None: ...


_status_lines = re.compile(rb"HTTP/1\.1 [0-9]{3} ").findall
"""The beginnings of responses. Reasons for a refusal may name HTTP/1.1 too."""


def _read(pieces: list[bytes]) -> tuple[list[Request], bool]:
    """The requests in order, and whether the connection was ended."""
    transport: Any = _Transport()
    reader = _Reader()
    reader.connection_made(transport)
    for piece in pieces:
        reader.data_received(piece)
    cycles = reader.asked + [cycle for cycle, _ in reversed(reader.pipeline)]
    found = [
        (cycle.scope["method"], cycle.scope["raw_path"], bytes(cycle.body), not cycle.more_body)
        for cycle in cycles
        if not cycle.disconnected
    ]
    assert len(_status_lines(transport.written)) <= 1
    return found, reader._refused or transport.closing


def _written_with_an_offer(request: Request, *, chunked: bool) -> bytes:
    method, path, body, _ = request
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    if chunked:
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    head = b"%b %b HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n%b\r\n\r\n" % (method.encode(), path, length)
    return head + body


def requests(data: bytes) -> None:
    """The same requests, in one piece and byte by byte; and the same when each of them offers an upgrade."""
    whole = found, _ = _read([data])
    assert _read([data[at : at + 1] for at in range(len(data))]) == whole
    complete = [request for request in found if request[-1]]
    for chunked in (False, True):
        offering = b"".join(_written_with_an_offer(request, chunked=chunked) for request in complete)
        assert _read([offering]) == (complete, False)


def run(data: bytes) -> None:
    """An event loop must be there, for uvicorn's events; nothing waits."""

    async def within_a_loop() -> None:
        requests(data)

    asyncio.run(within_a_loop())
