"""The shortcut for the message that most of the traffic is.

A `CursorMove` spelled as `JSON.stringify` spells it is recognised and turned into a client-ready `CursorUpdate` without
parsing it: both end in the same bytes. Everything that is spelled differently takes the long way, and means the same.
"""

import re

from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.messages import ELEMENT_ID_MAX_CHARS

_NUMBER = rb"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,20})?"
"""RFC 8259 section 6 without exponents, and short enough to be finite."""
_STRING = rb'"[ !#-\[\]-~]{0,%d}"' % ELEMENT_ID_MAX_CHARS
"""RFC 8259 section 7 without escapes and in ASCII, so that it need not be checked for UTF-8."""
_BEFORE = b'{"type":"CursorMove","payload":{'
_match = re.compile(
    rb'%b"x":%b,"y":%b(,"element_id":(?:null|%b))?\}\}' % (re.escape(_BEFORE), _NUMBER, _NUMBER, _STRING)
).fullmatch
_POSITION = slice(len(_BEFORE), None)
_POSITION_ALONE = slice(len(_BEFORE), -2)


def update_prefix(user: UserId) -> bytes:
    """What all `CursorUpdate` of a user begin with."""
    return b'{"type":"CursorUpdate","payload":{"user_id":"%b",' % user.encode()


def cursor_update(prefix: bytes, payload: bytes) -> bytes | None:
    """The client-ready `CursorUpdate` for what a client sent; None when it has to be parsed. Pure."""
    move = _match(payload)
    if move is None:
        return None
    if move.lastindex is None:
        return prefix + payload[_POSITION_ALONE] + b',"element_id":null}}'
    return prefix + payload[_POSITION]
