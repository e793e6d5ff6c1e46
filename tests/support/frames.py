"""Frames of a client as RFC 6455 section 5.2 has them, masked with zeros; nothing is checked."""

import struct

_FIN, _RSV1, _MASKED = 0x80, 0x40, 0x80


def frame_bytes(opcode: int, data: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    return frame_header(opcode | (_FIN if fin else 0) | (_RSV1 if rsv1 else 0), len(data)) + data


def frame_header(first: int, size: int, *, masked: bool = True) -> bytes:
    """`first`: the first byte. `size`: the announced size of the payload."""
    mask = _MASKED if masked else 0
    if size < 126:
        length = bytes([mask | size])
    elif size < 65_536:
        length = bytes([mask | 126]) + struct.pack("!H", size)
    else:
        length = bytes([mask | 127]) + struct.pack("!Q", size)
    return bytes([first]) + length + (bytes(4) if masked else b"")
