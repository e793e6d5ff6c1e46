"""Encodes WebSocket frames as server-sent events (HTML Standard, section 9.2). Pure."""

import json

from studyroom.gateway.wire.framing import Opcode

PADDING = b":" + b" " * 2048 + b"\n\n"
"""A comment at the start, since some proxies pass nothing on before they have so many bytes."""
_PING = b"event: ping\ndata:\n\n"
_LENGTHS = {126: 2, 127: 8}
"""The bytes of a frame's length after its second byte, by that byte (RFC 6455 section 5.2); 0 for all others."""


def opening(gateway: str, secret: str) -> bytes:
    """The first event: where the client sends its messages, and what proves that they are its own."""
    return _event("open", {"gateway": gateway, "secret": secret})


def closing(code: int, reason: str) -> bytes:
    """The last event: the code and the reason of a close frame."""
    return _event("close", {"code": code, "reason": reason})


def _event(name: str, data: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def events_of(frames: bytes) -> bytes:
    """An event for each frame: text frames become messages, and pings events named `ping`.

    `frames`: whole frames of a server, without fragments.
    """
    events: list[bytes] = []
    at = 0
    while at < len(frames):
        opcode, size = frames[at] & 0x0F, frames[at + 1]
        start = at + 2 + _LENGTHS.get(size, 0)
        if start > at + 2:
            size = int.from_bytes(frames[at + 2 : start], "big")
        at = start + size
        if opcode == Opcode.PING:
            events.append(_PING)
        elif opcode == Opcode.TEXT:
            # In JSON, line breaks are blanks between tokens. In an event they would end the line.
            line = frames[start:at].replace(b"\r", b" ").replace(b"\n", b" ")
            events += (b"data: ", line, b"\n\n")
    return b"".join(events)
