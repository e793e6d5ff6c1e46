"""Numbers, byte strings and texts as lib0 encodes them, the library under Yjs. Pure.

A number has seven bits in each byte, the lowest first, and the top bit says that another byte follows. Byte strings and
texts in UTF-8 have their length in bytes before them. (https://github.com/dmonad/lib0, `encoding.js`)
"""

_NUMBER_MAX = 2**53 - 1
"""The largest number that JavaScript counts exactly, and that lib0 reads."""
_NUMBER_MAX_BYTES = 8


class Malformed(ValueError):
    """The bytes are not what they should be. `str()` gives the reason, for people."""


class Reader:
    """Reads values one after another. All methods raise Malformed if the bytes end too early."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bytes:
        """The bytes that were not read yet."""
        return self._data[self._at :]

    def number(self) -> int:
        value = 0
        for place in range(_NUMBER_MAX_BYTES):
            if self._at >= len(self._data):
                break
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:  # noqa: PLR2004 - the top bit
                if value > _NUMBER_MAX:
                    break
                return value
        raise Malformed("a number is cut off or over 53 bits")

    def data(self) -> bytes:
        end = self.number() + self._at
        if end > len(self._data):
            raise Malformed("a byte string is cut off")
        found = self._data[self._at : end]
        self._at = end
        return found

    def text(self) -> str:
        try:
            return self.data().decode()
        except UnicodeDecodeError:
            raise Malformed("a text is not UTF-8") from None


def number(value: int) -> bytes:
    """Encode a number from 0 to 2**53 - 1."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def data(value: bytes) -> bytes:
    return number(len(value)) + value


def text(value: str) -> bytes:
    return data(value.encode())


Deletions = dict[int, list[tuple[int, int]]]
"""The deleted items of each client, as ranges of clocks with their end excluded, in order and apart from each other."""


def read_deletions(encoded: bytes) -> Deletions:
    """Decode the deletions at the end of a Yjs update. Raises Malformed."""
    reader, found = Reader(encoded), Deletions()
    for _ in range(reader.number()):
        ranges = found.setdefault(reader.number(), [])
        for _ in range(reader.number()):
            start = reader.number()
            ranges.append((start, start + reader.number()))
    return {client: _joined(ranges) for client, ranges in found.items()}


def contains(all_deletions: Deletions, some: Deletions) -> bool:
    """Whether `all_deletions` has everything in `some`."""
    return all(_covers(all_deletions.get(client, []), ranges) for client, ranges in some.items())


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _covers(wide: list[tuple[int, int]], narrow: list[tuple[int, int]]) -> bool:
    return all(any(start <= low and high <= end for start, end in wide) for low, high in narrow)
