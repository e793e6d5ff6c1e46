"""Checks that Yjs can read an update. Pure.

pycrdt reads more than Yjs does. An update that it takes can throw in the editors of everybody else, and their copies of
the document are damaged then. So this walk through an update (version 1) refuses what Yjs throws at, and lengths and
numbers that no editor writes:

- unknown kinds of structs, of contents, of shared types and of values; bad UTF-8 and bad JSON
- structs and deletions of no length, and references of a struct to later changes of its own client
- numbers that the 32 bits of pycrdt's clocks do not hold

The format is in the source of Yjs: `src/utils/encoding.js`, `src/structs` and lib0's `decoding.js`.
"""

import json

from studyroom.shared.contract.lib0 import Malformed

_CLOCK_MAX = 2**32 - 1
_CLIENT_MAX = 2**53 - 1
_GC, _SKIP = 0, 10
_CONTENT = 0x1F
_HAS_ORIGIN, _HAS_RIGHT_ORIGIN, _HAS_PARENT_KEY = 0x80, 0x40, 0x20
_DELETED, _JSON, _BINARY, _STRING, _EMBED, _FORMAT, _TYPE, _ANY, _DOC = range(1, 10)
_XML_ELEMENT, _XML_HOOK, _TYPES = 3, 5, 7
_ANY_BYTES = {127: 0, 126: 0, 124: 4, 123: 8, 122: 8, 121: 0, 120: 0}
"""Values of a fixed length: undefined, null, float32, float64, bigint, false and true."""
_ANY_INTEGER, _ANY_TEXT, _ANY_OBJECT, _ANY_LIST, _ANY_BINARY = 125, 119, 118, 117, 116
_ANY_NESTED_MAX = 64


def check_readable(update: bytes) -> None:
    """Raises Malformed for bytes that are not an update (version 1) as editors write them."""
    _Walk(update).update()


class _Walk:
    def __init__(self, update: bytes) -> None:
        self._data = update
        self._at = 0
        self._size = len(update)

    def update(self) -> None:
        for _ in range(self._number(_CLOCK_MAX)):
            structs = self._number(_CLOCK_MAX)
            client = self._number(_CLIENT_MAX)
            clock = self._number(_CLOCK_MAX)
            for _ in range(structs):
                length = self._struct(client, clock)
                clock += length
                if length == 0 or clock > _CLOCK_MAX:
                    raise Malformed("a struct has no length, or too much")
        for _ in range(self._number(_CLOCK_MAX)):
            self._number(_CLIENT_MAX)
            for _ in range(self._number(_CLOCK_MAX)):
                start, length = self._number(_CLOCK_MAX), self._number(_CLOCK_MAX)
                if length == 0 or start + length > _CLOCK_MAX:
                    raise Malformed("a deletion has no length, or too much")

    def _struct(self, client: int, clock: int) -> int:
        """Return the length of a struct."""
        info = self._byte()
        kind = info & _CONTENT
        if kind == _GC or info == _SKIP:
            return self._number(_CLOCK_MAX)
        if info & _HAS_ORIGIN:
            self._reference(client, clock)
        if info & _HAS_RIGHT_ORIGIN:
            self._reference(client, clock)
        if not info & (_HAS_ORIGIN | _HAS_RIGHT_ORIGIN):
            if self._number(1):
                self._text()
            else:
                self._reference(client, clock)
            if info & _HAS_PARENT_KEY:
                self._text()
        return self._contents(kind)

    def _reference(self, client: int, clock: int) -> None:
        its_client, its_clock = self._number(_CLIENT_MAX), self._number(_CLOCK_MAX)
        if its_client == client and its_clock >= clock:
            raise Malformed("a struct refers to a later change of its client")

    def _contents(self, kind: int) -> int:  # noqa: C901 - one case for each kind
        if kind == _STRING:
            return self._text()
        if kind == _DELETED:
            return self._number(_CLOCK_MAX)
        if kind == _ANY:
            count = self._number(_CLOCK_MAX)
            for _ in range(count):
                self._any(0)
            return count
        if kind == _JSON:
            count = self._number(_CLOCK_MAX)
            for _ in range(count):
                self._json()
            return count
        if kind == _FORMAT:
            self._text()
            self._json()
        elif kind == _TYPE:
            self._type()
        elif kind == _EMBED:
            self._json()
        elif kind == _BINARY:
            self._bytes()
        elif kind == _DOC:
            self._text()
            self._any(0)
        else:
            raise Malformed(f"contents of the unknown kind {kind}")
        return 1

    def _type(self) -> None:
        reference = self._number(_CLOCK_MAX)
        if reference >= _TYPES:
            raise Malformed(f"an unknown shared type {reference}")
        if reference in {_XML_ELEMENT, _XML_HOOK}:
            self._text()

    # --- values of lib0 -----------------------------------------------------------------------------------

    def _byte(self) -> int:
        if self._at >= self._size:
            raise Malformed("the update is cut off")
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _number(self, most: int) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if value > most:
                raise Malformed(f"a number is over {most}")
            if byte < 0x80:  # noqa: PLR2004 - the top bit
                return value
            shift += 7
            if shift > 56:  # noqa: PLR2004 - a longer encoding of a number up to 2**53
                raise Malformed("a number is too long")

    def _bytes(self) -> bytes:
        count = self._number(_CLOCK_MAX)
        start = self._at
        self._skip(count)
        return self._data[start : self._at]

    def _text(self) -> int:
        """Return the length in units of UTF-16, in which Yjs counts."""
        raw = self._bytes()
        if raw.isascii():
            return len(raw)
        try:
            return len(raw.decode().encode("utf-16-le")) // 2
        except UnicodeDecodeError:
            raise Malformed("a text is not UTF-8") from None

    def _json(self) -> None:
        raw = self._bytes()
        if raw in {b"null", b"true", b"false", b"undefined"}:
            return
        try:
            json.loads(raw, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise Malformed("a value is not JSON") from None

    def _any(self, depth: int) -> None:
        if depth > _ANY_NESTED_MAX:
            raise Malformed("a value is nested too deeply")
        kind = self._byte()
        if kind in _ANY_BYTES:
            self._skip(_ANY_BYTES[kind])
        elif kind == _ANY_TEXT:
            self._text()
        elif kind == _ANY_INTEGER:
            self._integer()
        elif kind == _ANY_OBJECT:
            for _ in range(self._number(_CLOCK_MAX)):
                self._text()
                self._any(depth + 1)
        elif kind == _ANY_LIST:
            for _ in range(self._number(_CLOCK_MAX)):
                self._any(depth + 1)
        elif kind == _ANY_BINARY:
            self._bytes()
        else:
            raise Malformed(f"a value of the unknown kind {kind}")

    def _integer(self) -> None:
        """A number with a sign: six bits in the first byte."""
        byte = self._byte()
        value, shift = byte & 0x3F, 6
        while byte >= 0x80:  # noqa: PLR2004 - the top bit
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if value > _CLIENT_MAX or shift > 62:  # noqa: PLR2004 - a longer encoding of a number up to 2**53
                raise Malformed("an integer is over 53 bits")

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > self._size:
            raise Malformed("the update is cut off")


def _refuse(constant: str) -> object:
    raise ValueError(constant)
