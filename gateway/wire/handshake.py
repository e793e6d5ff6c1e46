"""Request heads, the rules for handshakes, and the responses to them. Pure."""

import hashlib
import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from httptools import HttpParserInvalidURLError, parse_url

from studyroom.gateway.wire.credentials import SUBPROTOCOL, offered_subprotocols
from studyroom.gateway.wire.header_fields import elements
from studyroom.shared.contract.errors import ErrorCode

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
    501: "Not Implemented",
    503: "Service Unavailable",
}
_KEY_BYTES = 16
_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""From RFC 6455 section 1.3."""
_NO_BLANKS_OR_ESCAPES = frozenset("+%").isdisjoint


@dataclass(frozen=True, slots=True)
class Target:
    path: str
    query: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RequestHead:
    path: str
    headers: dict[str, str] = field(repr=False)
    """The headers by name in lower case, with repeated ones combined."""
    peer: str | None
    """The address of the other end of the socket, which is the client or a proxy."""


@dataclass(frozen=True, slots=True)
class Handshake(RequestHead):
    """A well-formed upgrade request. The edge decides whether to admit it."""

    query: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The response to a refused request or handshake."""

    status: int
    code: ErrorCode
    message: str
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        """The response as HTTP/1.1. It is the last one of its connection."""
        body = json.dumps({"code": self.code, "message": self.message}).encode()
        head = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Refused')}"]
        head += [f"{name}: {value}" for name, value in self.headers]
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def handshake_problem(method: bytes, http_version: str, headers: dict[str, str]) -> Refused | None:
    """Why an upgrade request breaks RFC 6455 section 4.2.1; None if it does not. The HTTP parser checks the rest."""
    if method != b"GET" or http_version != "1.1" or "host" not in headers:
        return Refused(400, ErrorCode.BAD_HANDSHAKE, "the handshake must be a GET of HTTP/1.1 with a Host header")
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        return Refused(400, ErrorCode.BAD_HANDSHAKE, "the handshake must not have a body")
    if elements(headers, "sec-websocket-version") != ["13"]:
        return Refused(
            426,
            ErrorCode.UPGRADE_REQUIRED,
            "only version 13 of the WebSocket protocol is supported",
            (("Sec-WebSocket-Version", "13"),),
        )
    try:
        key = b64decode(headers.get("sec-websocket-key", ""), validate=True)
    except (Base64Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        return Refused(400, ErrorCode.BAD_HANDSHAKE, "Sec-WebSocket-Key must be 16 bytes in base64")
    return None


def parse_target(url: bytes) -> Target | None:
    """The target of a request; None if it cannot be parsed, or has no path."""
    try:
        # Not `urlsplit`, which caches the last 128 URLs, with their tokens.
        parts = parse_url(url)
        # Unquoted as by uvicorn, so that the app sees the same path.
        return Target(unquote(parts.path.decode("ascii")), (parts.query or b"").decode("ascii"))
    except (HttpParserInvalidURLError, UnicodeDecodeError, AttributeError):
        return None


def read_handshake(
    method: bytes, http_version: str, url: bytes, headers: dict[str, str], peer: str | None
) -> Handshake | Refused:
    """The handshake in the head of an upgrade request, or the reason why it is not well-formed."""
    problem = handshake_problem(method, http_version, headers)
    if problem is not None:
        return problem
    target = parse_target(url)
    if target is None:
        return Refused(400, ErrorCode.BAD_HANDSHAKE, "the request target cannot be read")
    try:
        return Handshake(target.path, headers, peer, _parse_query(target.query))
    except ValueError:
        return Refused(400, ErrorCode.BAD_HANDSHAKE, "the query cannot be read")


def _parse_query(query: str) -> dict[str, str]:
    """Raises ValueError."""
    if _NO_BLANKS_OR_ESCAPES(query):  # the same, in a quarter of the time
        return {name: value for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)}
    return dict(parse_qsl(query, keep_blank_values=True))


_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n"
)
_WITH_SUBPROTOCOL = b"Sec-WebSocket-Protocol: %b\r\n" % SUBPROTOCOL.encode("ascii")


def accepted(handshake: Handshake) -> bytes:
    """The response to an accepted handshake (RFC 6455 section 4.2.2)."""
    key = handshake.headers["sec-websocket-key"].encode("ascii")
    proof = b64encode(hashlib.sha1(key + _KEY_SUFFIX, usedforsecurity=False).digest())
    subprotocol = _WITH_SUBPROTOCOL if SUBPROTOCOL in offered_subprotocols(handshake.headers) else b""
    return _ACCEPTED % proof + subprotocol + b"\r\n"
