"""Cursor and typing notices between gateways, and the cursor digest for presence.

They are sent often and lost without harm, so they travel client-ready: the receiver checks who a notice is from
and frames the bytes, it parses nothing.

A batch is lines of ASCII and JSON (JSON never contains a raw newline):

    <stamp, 16 digits>\\n
    <user id, 36 characters><client-ready JSON>\\n …

The stamp is the ingress in Unix microseconds, or 0 for what is repeated. What is repeated with the time of its move has
that time in tens of microseconds, and 9·10¹⁵ added.

A digest line has the room before the user: `<room id><user id><CursorPosition JSON>`.
"""

from collections.abc import Iterable

from studyroom.shared.contract.ids import ID_LENGTH, RoomId, UserId

_STAMP_DIGITS = 16
_REPEATED = 9 * 10**15
"""Added to the time of what is repeated. An older gateway takes it for something new, which is no harm."""


class MalformedBatch(ValueError):
    """The bytes are not a batch of this format; nothing of it was used."""


def repeated_at(moved_us: int) -> int:
    """The stamp of a batch that repeats what was moved at this time, Unix microseconds."""
    return _REPEATED + moved_us // 10


def parse_stamp(stamp: int) -> tuple[int, int]:
    """The ingress, 0 for what is repeated, and when that was moved, 0 where nobody says so. Unix microseconds."""
    return (0, (stamp - _REPEATED) * 10) if stamp >= _REPEATED else (stamp, 0)


def encode_batch(stamp: int, notices: Iterable[tuple[UserId, bytes]]) -> bytes:
    """`stamp`: when the oldest notice arrived, Unix microseconds, or `repeated_at`."""
    lines = [b"%016d" % stamp]
    lines += [user.encode("ascii") + notice for user, notice in notices]
    return b"\n".join(lines)


def decode_batch(data: bytes) -> tuple[int, list[tuple[UserId, bytes]]]:
    """The stamp, for `parse_stamp`, and the notices in order. Raises MalformedBatch."""
    stamp, *lines = data.split(b"\n")
    if len(stamp) != _STAMP_DIGITS or not stamp.isdigit():
        raise MalformedBatch("no ingress stamp")
    if any(len(line) < ID_LENGTH for line in lines):
        raise MalformedBatch("short line")
    try:
        return int(stamp), [(UserId(str(line[:ID_LENGTH], "ascii")), line[ID_LENGTH:]) for line in lines]
    except UnicodeDecodeError as error:
        raise MalformedBatch("no user id") from error


def split_batch(batch: bytes, max_bytes: int) -> list[bytes]:
    """An encoded batch as several of at most `max_bytes`, or of one notice where that alone is longer."""
    if len(batch) <= max_bytes:
        return [batch]
    stamp, _, notices = batch.partition(b"\n")
    return [stamp + b"\n" + lines for lines in _split_lines(notices, max_bytes - len(stamp) - 1)]


def split_digest(digest: bytes, max_bytes: int) -> list[bytes]:
    """The same of an encoded digest."""
    return _split_lines(digest, max_bytes)


def _split_lines(data: bytes, max_bytes: int) -> list[bytes]:
    parts = []
    while len(data) > max_bytes:
        end = data.rfind(b"\n", 0, max_bytes + 1)
        if end < 0:
            end = data.find(b"\n")
        if end < 0:
            break
        parts.append(data[:end])
        data = data[end + 1 :]
    return [*parts, data]


def encode_digest(cursors: Iterable[tuple[RoomId, UserId, bytes]]) -> bytes:
    return b"\n".join(room.encode("ascii") + user.encode("ascii") + cursor for room, user, cursor in cursors)


def decode_digest(data: bytes) -> list[tuple[RoomId, UserId, bytes]]:
    """Raises MalformedBatch."""
    return [_cursor(line) for line in data.split(b"\n")]


def _cursor(line: bytes) -> tuple[RoomId, UserId, bytes]:
    try:
        ids = str(line[: 2 * ID_LENGTH], "ascii")
    except UnicodeDecodeError as error:
        raise MalformedBatch("no ids") from error
    if len(ids) != 2 * ID_LENGTH:
        raise MalformedBatch("short line")
    return RoomId(ids[:ID_LENGTH]), UserId(ids[ID_LENGTH:]), line[2 * ID_LENGTH :]


_BEFORE_USER = b'{"type":"CursorUpdate","payload":{"user_id":"'
_CURSOR_AT = len(_BEFORE_USER) + ID_LENGTH + len(b'",')


def cursor_of(update: bytes) -> bytes:
    """The `CursorPosition` JSON inside a client-ready `CursorUpdate`, cut out unparsed."""
    return b"{" + update[_CURSOR_AT:-1]
