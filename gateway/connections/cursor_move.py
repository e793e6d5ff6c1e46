"""A shortcut for `CursorMove`, the most frequent message.

If a `CursorMove` is encoded as `JSON.stringify` does it, it becomes a client-ready `CursorUpdate` without parsing: both
end in the same bytes. Any other encoding is parsed, with the same result.
"""

import re

from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.messages import ELEMENT_ID_MAX_CHARS

_NUMBER = rb"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,20})?"
"""A number of RFC 8259 section 6 without an exponent, and short enough to be finite."""
_STRING = rb'"[ !#-\[\]-~]{0,%d}"' % ELEMENT_ID_MAX_CHARS
"""A string of RFC 8259 section 7 without escapes and in ASCII, so that no check for UTF-8 is necessary."""
_BEFORE = b'{"type":"CursorMove","payload":{'
_match = re.compile(
    rb'%b"x":%b,"y":%b(,"element_id":(?:null|%b))?\}\}' % (re.escape(_BEFORE), _NUMBER, _NUMBER, _STRING)
).fullmatch
_POSITION = slice(len(_BEFORE), None)
_POSITION_ALONE = slice(len(_BEFORE), -2)


def update_prefix(user: UserId) -> bytes:
    """The bytes with which every `CursorUpdate` of a user begins."""
    return b'{"type":"CursorUpdate","payload":{"user_id":"%b",' % user.encode()


def cursor_update(prefix: bytes, payload: bytes) -> bytes | None:
    """The client-ready `CursorUpdate` for a message from a client; None if the message must be parsed. Pure."""
    move = _match(payload)
    if move is None:
        return None
    if move.lastindex is None:
        return prefix + payload[_POSITION_ALONE] + b',"element_id":null}}'
    return prefix + payload[_POSITION]
