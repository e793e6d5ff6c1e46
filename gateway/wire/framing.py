"""Encodes WebSocket frames, close frames too, and joins fragments (RFC 6455).

Pure. Frames of a server are not masked (section 5.1), so one encoded frame can be written to any number of clients.
"""

import codecs
import struct
from enum import IntEnum

from studyroom.shared.contract.close_codes import CloseCode

CONTROL_PAYLOAD_MAX_BYTES = 125
_FIN = 0x80


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class Violation(Exception):
    """The peer broke the protocol. Close the connection with `code`, and with `str()` as the reason."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """An unfragmented, unmasked frame (RFC 6455 section 5.2)."""
    first = _FIN | opcode
    size = len(payload)
    if size < 126:  # noqa: PLR2004 - RFC 6455
        header = struct.pack("!BB", first, size)
    elif size < 1 << 16:
        header = struct.pack("!BBH", first, 126, size)
    else:
        header = struct.pack("!BBQ", first, 127, size)
    return header + payload


_SHORT_TEXT_HEADERS = [encode_frame(Opcode.TEXT, bytes(size))[: 2 if size < 126 else 4] for size in range(1024)]  # noqa: PLR2004 - RFC 6455


def text_frame(payload: bytes) -> bytes:
    size = len(payload)
    return _SHORT_TEXT_HEADERS[size] + payload if size < 1024 else encode_frame(Opcode.TEXT, payload)  # noqa: PLR2004


def payload_of(frame: bytes) -> bytes:
    """The payload of a frame from `text_frame`."""
    return frame[_HEADER_SIZES.get(frame[1], 2) :]


_HEADER_SIZES = {126: 4, 127: 10}
"""The size of a frame's header by its second byte; 2 for all others."""

PING_FRAME = encode_frame(Opcode.PING, b"")


def close_payload(code: int, reason: str) -> bytes:
    """The payload of a close frame. Cuts a reason that is too long, between two characters."""
    max_bytes = CONTROL_PAYLOAD_MAX_BYTES - 2
    text = reason.encode()[:max_bytes].decode(errors="ignore").encode()
    return struct.pack("!H", code) + text


def parse_close(payload: bytes) -> tuple[int, str]:
    """The code and the reason of a received close frame; code 1005 if it has none.

    Raises Violation for a code that no endpoint may send (RFC 6455 section 7.4), or a reason that is not UTF-8.
    """
    if not payload:
        return CloseCode.NO_STATUS, ""
    if len(payload) == 1:
        raise Violation(CloseCode.PROTOCOL_ERROR, "close frame of one byte")
    (code,) = struct.unpack("!H", payload[:2])
    if not may_be_sent(code):
        raise Violation(CloseCode.PROTOCOL_ERROR, f"close code {code} must not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(CloseCode.INVALID_TEXT, "close reason is not UTF-8") from None


_ASSIGNED_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""The codes of https://www.iana.org/assignments/websocket, without those that are reserved for local use."""
_FREE_CODES = range(3000, 5000)


def may_be_sent(code: int) -> bool:
    """Whether a close frame may have this code, in either direction."""
    return code in _ASSIGNED_CODES or code in _FREE_CODES


class Assembler:
    """Joins the fragments of messages of one kind, and checks the UTF-8 of texts (sections 5.4 and 8.1).

    Feed it data frames only. Control frames may come between fragments.
    """

    __slots__ = ("_data", "_decoder", "_max_bytes", "_parts", "_size", "in_message")

    def __init__(self, max_bytes: int, data: Opcode = Opcode.TEXT) -> None:
        """`max_bytes`: the maximum size of a message, over all its fragments. `data`: the kind, `TEXT` or `BINARY`."""
        self._max_bytes = max_bytes
        self._data = data
        self._parts: list[bytes] = []
        self._size = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        """Checks a text, which may be cut within a character."""
        self.in_message = False

    def feed(self, opcode: int, payload: bytes, *, final: bool) -> bytes | None:
        """The message if this is its last fragment, otherwise None. Raises Violation."""
        self._check_order(opcode)
        self._size += len(payload)
        if self._size > self._max_bytes:
            raise Violation(CloseCode.MESSAGE_TOO_BIG, f"message over {self._max_bytes} bytes")
        if self._decoder is not None:
            try:
                self._decoder.decode(payload, final)
            except UnicodeDecodeError:
                raise Violation(CloseCode.INVALID_TEXT, "text is not UTF-8") from None
        if payload:
            self._parts.append(payload)
        self.in_message = not final
        if not final:
            return None
        message = b"".join(self._parts)
        self._parts, self._size, self._decoder = [], 0, None
        return message

    def _check_order(self, opcode: int) -> None:
        """Begin a message, or go on with it. Raises Violation."""
        if opcode == Opcode.CONTINUATION:
            if not self.in_message:
                raise Violation(CloseCode.PROTOCOL_ERROR, "continuation frame without a message")
        elif opcode != self._data:
            kind = self._data.name.lower()
            raise Violation(CloseCode.UNSUPPORTED_DATA, f"this endpoint takes {kind} frames only")
        elif self.in_message:
            raise Violation(CloseCode.PROTOCOL_ERROR, "new message before the end of the last one")
        elif opcode == Opcode.TEXT:
            self._decoder = codecs.getincrementaldecoder("utf-8")()
