"""Batches of cursor and typing notices between gateways, and digests of cursors for presence.

Notices are frequent, and losing one is harmless. They travel as the JSON that clients receive: the receiving gateway
checks the author of a notice and frames the bytes, without parsing them.

A batch consists of lines of ASCII and JSON, in which JSON never contains a raw newline:

    <stamp, 16 digits>\\n
    <user id, 36 characters><JSON for clients>\\n …

The stamp is the time at which the gateway received the oldest notice, in Unix microseconds. A batch that repeats
notices has the stamp 0, or the time of the original move in tens of microseconds plus 9·10¹⁵.

A line of a digest has the room before the user: `<room id><user id><CursorPosition JSON>`.
"""

from collections.abc import Iterable

from studyroom.shared.contract.ids import ID_LENGTH, RoomId, UserId

_STAMP_DIGITS = 16
_REPEATED = 9 * 10**15
"""The amount that marks the time of repeated notices. Older gateways treat them as new, which is harmless."""


class MalformedBatch(ValueError):
    """The bytes are not a valid batch or digest, so nothing of them was used."""


def repeated_at(moved_us: int) -> int:
    """Return the stamp of a batch that repeats moves from this time, in Unix microseconds."""
    return _REPEATED + moved_us // 10


def parse_stamp(stamp: int) -> tuple[int, int]:
    """Return the time of receipt (0 in repeated notices) and the time of the repeated move (0 if unknown).

    Both are in Unix microseconds.
    """
    return (0, (stamp - _REPEATED) * 10) if stamp >= _REPEATED else (stamp, 0)


def encode_batch(stamp: int, notices: Iterable[tuple[UserId, bytes]]) -> bytes:
    """Encode notices. `stamp`: when the oldest notice arrived, in Unix microseconds, or `repeated_at`."""
    lines = [b"%016d" % stamp]
    lines += [user.encode("ascii") + notice for user, notice in notices]
    return b"\n".join(lines)


def decode_batch(data: bytes) -> tuple[int, list[tuple[UserId, bytes]]]:
    """Return the stamp, for `parse_stamp`, and the notices in their order. Raises MalformedBatch."""
    stamp, *lines = data.split(b"\n")
    if len(stamp) != _STAMP_DIGITS or not stamp.isdigit():
        raise MalformedBatch("no stamp")
    if any(len(line) < ID_LENGTH for line in lines):
        raise MalformedBatch("short line")
    try:
        return int(stamp), [(UserId(str(line[:ID_LENGTH], "ascii")), line[ID_LENGTH:]) for line in lines]
    except UnicodeDecodeError as error:
        raise MalformedBatch("no user id") from error


def split_batch(batch: bytes, max_bytes: int) -> list[bytes]:
    """Split an encoded batch into batches of at most `max_bytes`, or of a single notice that is longer."""
    if len(batch) <= max_bytes:
        return [batch]
    stamp, _, notices = batch.partition(b"\n")
    return [stamp + b"\n" + lines for lines in _split_lines(notices, max_bytes - len(stamp) - 1)]


def split_digest(digest: bytes, max_bytes: int) -> list[bytes]:
    """Split an encoded digest into digests of at most `max_bytes`, or of a single line that is longer."""
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
    return b"\n".join([(room + user).encode("ascii") + cursor for room, user, cursor in cursors])


def decode_digest(data: bytes) -> list[tuple[RoomId, UserId, bytes]]:
    """Return room, user and `CursorPosition` JSON of each line. Raises MalformedBatch."""
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
    """Return the `CursorPosition` JSON of an encoded `CursorUpdate`, without parsing it."""
    return b"{" + update[_CURSOR_AT:-1]
