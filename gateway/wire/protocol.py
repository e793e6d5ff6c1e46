"""The WebSocket protocol of a server after the handshake (RFC 6455). Pure: bytes in, events and frames out.

Pass `receive_data` the bytes from the socket, and carry out the events that it returns, in order. The caller has the
clock and the socket, and knows what messages mean.
"""

from collections.abc import Sequence
from typing import NamedTuple

from studyroom.gateway.transport.native import unmask
from studyroom.gateway.wire.framing import (
    CONTROL_PAYLOAD_MAX_BYTES,
    Assembler,
    Opcode,
    Violation,
    close_payload,
    encode_frame,
    parse_close,
)
from studyroom.shared.contract.close_codes import CloseCode

_FIN, _OPCODE = 0x80, 0x0F
_MASKED = 0x80
_WHOLE_TEXT = _FIN | Opcode.TEXT
_FIRST_CONTROL = Opcode.CLOSE
_OPCODES = frozenset(Opcode)
_MASK_BYTES = 4
_HEAD_BYTES = 2 + _MASK_BYTES
"""The size of the head of a short frame."""
_LENGTH_BYTES = {126: 2, 127: 8}
"""The size of the extended length, by the length in the second byte (section 5.2)."""
_LEAST = {2: 126, 8: 1 << 16}
"""The least length that an extended length of this size may have."""


class Fragment(NamedTuple):
    """A part of a message. When the message is whole, it is another event."""


class Ping(NamedTuple):
    answer: bytes
    """The pong to write. It may be left out for a client that does not read (section 5.5.3)."""


class Pong(NamedTuple):
    pass


class Closed(NamedTuple):
    """The client has sent a close frame."""

    answer: bytes
    """The close frame to write before the socket ends; empty if the server sent its close frame first."""


class Broken(NamedTuple):
    """The client broke the protocol. Close with this code and reason."""

    code: CloseCode
    reason: str


Event = bytes | Fragment | Ping | Pong | Closed | Broken
"""`bytes` is a whole message: a text in valid UTF-8, or binary data. `Closed` and `Broken` are the last event."""

_FRAGMENT, _PONG = Fragment(), Pong()


class WebSocketProtocol:
    __slots__ = ("_assembler", "_data", "_incomplete", "_max_bytes", "_needed_bytes", "_over", "_whole", "close_code")

    def __init__(self, message_max_bytes: int, data: Opcode = Opcode.TEXT) -> None:
        """`message_max_bytes`: the maximum size of a message, over all its fragments. `data`: the kind of messages that
        the client may send, `TEXT` or `BINARY`."""
        self._max_bytes = message_max_bytes
        self._data = data
        self._whole: int = _FIN | data
        """The first byte of a message in one frame."""
        self._assembler: Assembler | None = None
        """Set while a message comes in fragments."""
        self._incomplete: bytearray | None = None
        """The beginning of a frame, if there is one."""
        self._needed_bytes = 0
        """The size that `_incomplete` must have before it is parsed again."""
        self._over = False
        """Ignore all further bytes."""
        self.close_code: int | None = None
        """The code of the first close frame, in either direction."""

    def receive_data(self, data: bytes) -> Sequence[Event]:
        if self._over:
            return ()
        if self._incomplete is not None:
            self._incomplete += data
            if len(self._incomplete) < self._needed_bytes:
                return ()
            data = bytes(self._incomplete)
        events: list[Event] = []
        try:
            end = self._take_frames(data, events)
        except Violation as violation:
            self._over = True
            events.append(Broken(violation.code, str(violation)))
            end = len(data)
        self._incomplete = bytearray(data[end:]) if end < len(data) else None
        return events

    def close(self, code: int, reason: str = "") -> bytes:
        """The close frame to write, which begins the closing handshake."""
        if self.close_code is None:
            self.close_code = code
        return encode_frame(Opcode.CLOSE, close_payload(code, reason))

    def _take_frames(self, data: bytes, events: list[Event]) -> int:
        """Add the events of complete frames. Returns where the first incomplete frame begins. Raises Violation."""
        start, available = 0, len(data)
        while available - start > 1:
            first, size = data[start], data[start + 1] - _MASKED
            payload_at = start + _HEAD_BYTES
            if first != self._whole or size < 0:
                _check_head(first, size)
            if size > CONTROL_PAYLOAD_MAX_BYTES:
                payload_at += _LENGTH_BYTES[size]
                if payload_at > available:
                    self._needed_bytes = payload_at - start
                    return start
                size = _long_size(data[start + 2 : payload_at - _MASK_BYTES])
            if size > self._max_bytes and first & _OPCODE < _FIRST_CONTROL:
                raise Violation(CloseCode.MESSAGE_TOO_BIG, f"message over {self._max_bytes} bytes")
            end = payload_at + size
            if end > available:
                self._needed_bytes = end - start
                return start
            payload = unmask(data, payload_at, end)
            start = end
            if first == self._whole and self._assembler is None:
                if first == _WHOLE_TEXT and not payload.isascii():
                    _check_text(payload)
                events.append(payload)
            else:
                self._take_other(first, payload, events)
                if self._over:
                    return available
        self._needed_bytes = 2
        return start

    def _take_other(self, first: int, payload: bytes, events: list[Event]) -> None:
        opcode = first & _OPCODE
        if opcode == Opcode.CLOSE:
            self._over = True
            events.append(Closed(self._answer_close(payload)))
        elif opcode == Opcode.PING:
            events.append(Ping(encode_frame(Opcode.PONG, payload)))
        elif opcode == Opcode.PONG:
            events.append(_PONG)
        else:
            events.append(_FRAGMENT)
            self._assemble(opcode, payload, events, final=first >= _FIN)

    def _assemble(self, opcode: int, payload: bytes, events: list[Event], *, final: bool) -> None:
        assembler = self._assembler or Assembler(self._max_bytes, self._data)
        message = assembler.feed(opcode, payload, final=final)
        self._assembler = assembler if assembler.in_message else None
        if message is not None:
            events.append(message)

    def _answer_close(self, payload: bytes) -> bytes:
        code, _ = parse_close(payload)
        if self.close_code is not None:
            return b""
        if code == CloseCode.NO_STATUS:
            self.close_code = code
            return encode_frame(Opcode.CLOSE, b"")  # an empty payload gets an empty payload back (section 5.5.1)
        return self.close(code)


def _check_head(first: int, size: int) -> None:
    """`size`: the length in the second byte, below 0 without a mask. Raises Violation."""
    if first & _OPCODE not in _OPCODES:
        raise Violation(CloseCode.PROTOCOL_ERROR, "unknown opcode")
    if first & 0x70:
        raise Violation(CloseCode.PROTOCOL_ERROR, "reserved bits without an extension")
    if size < 0:
        raise Violation(CloseCode.PROTOCOL_ERROR, "frame without a mask")
    if first & _OPCODE >= _FIRST_CONTROL and (first < _FIN or size > CONTROL_PAYLOAD_MAX_BYTES):
        raise Violation(CloseCode.PROTOCOL_ERROR, "control frame in fragments or over 125 bytes")


def _long_size(length: bytes) -> int:
    """Raises Violation."""
    size = int.from_bytes(length, "big")
    if size < _LEAST[len(length)] or size >> 63:
        raise Violation(CloseCode.PROTOCOL_ERROR, "frame length in too many bytes or over 63 bits")
    return size


def _check_text(payload: bytes) -> None:
    """Raises Violation."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Violation(CloseCode.INVALID_TEXT, "text is not UTF-8") from None
