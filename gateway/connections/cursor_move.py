"""A shortcut for `CursorMove`, the most frequent message.

If a `CursorMove` is encoded as `JSON.stringify` does it, it becomes a client-ready `CursorUpdate` without parsing: both
end in the same bytes. Any other encoding is parsed, with the same result.
"""

import re

from studyroom.gateway.transport import native
from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.messages import ELEMENT_ID_MAX_CHARS

_WHOLE_DIGITS, _FRACTION_DIGITS, _ELEMENT_MAX_BYTES = 15, 20, ELEMENT_ID_MAX_CHARS
_NUMBER = rb"-?(?:0|[1-9][0-9]{0,%d})(?:\.[0-9]{1,%d})?" % (_WHOLE_DIGITS - 1, _FRACTION_DIGITS)
"""A number of RFC 8259 section 6 without an exponent, and short enough to be finite."""
_STRING = rb'"[ !#-\[\]-~]{0,%d}"' % ELEMENT_ID_MAX_CHARS
"""A string of RFC 8259 section 7 without escapes and in ASCII, so that no check for UTF-8 is necessary."""
_BEFORE = b'{"type":"CursorMove","payload":{'
_X, _Y, _ELEMENT, _NULL, _END = b'"x":', b',"y":', b',"element_id":', b"null", b"}}"
_BEFORE_X = _BEFORE + _X
_NULL_ELEMENT = _ELEMENT + _NULL + _END
_match = re.compile(
    rb'%b"x":%b,"y":%b(,"element_id":(?:null|%b))?\}\}' % (re.escape(_BEFORE), _NUMBER, _NUMBER, _STRING)
).fullmatch
_PAYLOAD_AT = len(_BEFORE)
_MAX_SIZE = 1024
"""No message that the shortcut takes is as long."""


def update_prefix(user: UserId) -> bytes:
    """The bytes with which every `CursorUpdate` of a user begins."""
    return b'{"type":"CursorUpdate","payload":{"user_id":"%b",' % user.encode()


def by_pattern(prefix: bytes, payload: bytes) -> bytes | None:
    """`cursor_update` by a regular expression."""
    move = _match(payload)
    if move is None:
        return None
    if move.lastindex is None:
        return prefix + payload[_PAYLOAD_AT:-2] + _NULL_ELEMENT
    return prefix + payload[_PAYLOAD_AT:]


def by_steps(prefix: bytes, payload: bytes) -> bytes | None:  # noqa: PLR0911 - each step may end it
    """`cursor_update` byte by byte, which is fast in the compiled data path only."""
    size = len(payload)
    if size > _MAX_SIZE or not payload.startswith(_BEFORE_X):
        return None
    at = _after_number(payload, len(_BEFORE_X), size)
    if at < 0 or not payload.startswith(_Y, at):
        return None
    end = _after_number(payload, at + len(_Y), size)
    if end < 0:
        return None
    if payload.startswith(_END, end) and end + len(_END) == size:
        return prefix + payload[_PAYLOAD_AT:end] + _NULL_ELEMENT
    if not payload.startswith(_ELEMENT, end):
        return None
    at = end + len(_ELEMENT)
    at = at + len(_NULL) if payload.startswith(_NULL, at) else _after_string(payload, at, size)
    if at < 0 or at + len(_END) != size or not payload.startswith(_END, at):
        return None
    return prefix + payload[_PAYLOAD_AT:]


def _after_digits(payload: bytes, at: int, size: int, most: int) -> int:
    """The offset after one digit or more; -1 if there is none, or there are more than `most`."""
    start = at
    while at < size and 48 <= payload[at] <= 57:  # noqa: PLR2004 - digits in ASCII
        at += 1
    return at if start < at <= start + most else -1


def _after_number(payload: bytes, at: int, size: int) -> int:
    """The offset after a number as in `_NUMBER`; -1 if there is none."""
    if at < size and payload[at] == 45:  # noqa: PLR2004 - the sign in ASCII
        at += 1
    end = _after_digits(payload, at, size, _WHOLE_DIGITS)
    if end < 0 or (payload[at] == 48 and end > at + 1):  # noqa: PLR2004 - a zero in ASCII
        return -1
    if end < size and payload[end] == 46:  # noqa: PLR2004 - the point in ASCII
        return _after_digits(payload, end + 1, size, _FRACTION_DIGITS)
    return end


def _after_string(payload: bytes, at: int, size: int) -> int:
    """The offset after a string as in `_STRING`; -1 if there is none."""
    if at >= size or payload[at] != 34:  # noqa: PLR2004 - a quotation mark in ASCII
        return -1
    start = at = at + 1
    while at < size:
        byte = payload[at]
        if byte == 34:  # noqa: PLR2004
            return at + 1 if at - start <= _ELEMENT_MAX_BYTES else -1
        if byte < 32 or byte > 126 or byte == 92:  # noqa: PLR2004 - control characters, the backslash, and beyond ASCII
            return -1
        at += 1
    return -1


def cursor_update(prefix: bytes, payload: bytes) -> bytes | None:
    """The client-ready `CursorUpdate` for a message from a client; None if the message must be parsed. Pure."""
    return by_steps(prefix, payload) if native.COMPILED else by_pattern(prefix, payload)
