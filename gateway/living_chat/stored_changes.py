"""Finds the edits and reactions of messages that no room remembers, for pages of the history and for deletions.

They are entries of the room's chat, anywhere after the message that they change. So this reads the chat after the
message, once: a client that loads page after page, each older than the one before, needs each entry once more.
"""

from dataclasses import dataclass

from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.rooms.history import Stored, only_chat, with_changes, without_deleted
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.ids import RoomId

_KEPT_MAX_BYTES = 16 * 1024 * 1024
"""Limit on the edits and reactions that this gateway remembers. It forgets those of the room used least recently."""
_LINE_BYTES, _ROOM_BYTES = 300, 1000
"""About what an edit or a reaction takes besides its text, and a room without any."""
_MORE_MAX = 4
"""How often a page reads on, because lines of it are edits and reactions."""


@dataclass(slots=True)
class Page:
    messages: list[Stored]
    """Oldest first, as they are now."""
    before: int | None
    """Where the page before this one ends; None if there is none."""


@dataclass(slots=True)
class _Known:
    """All edits and reactions after a sequence, up to another one."""

    epoch: str
    after: int
    up_to: int
    changes: dict[int, Stored]
    deleted: frozenset[int] = frozenset()
    """The sequences that tombstones in this range delete."""
    size: int = _ROOM_BYTES
    """About how many bytes they take."""


class StoredChanges:
    def __init__(self, streams: ByGroup[ChatStream]) -> None:
        self._streams = streams
        self._rooms: dict[RoomId, _Known] = {}
        """The room used last comes last."""
        self._size = 0

    async def after(self, room: RoomId, sequence: int) -> list[Stored]:
        """All edits and reactions of the room after a sequence, in order. Bound it with a timeout. Raises BusError."""
        stream = self._streams.of(room)
        epoch = stream.terms.epoch
        last = await stream.last(room) or 0
        known = self._rooms.get(room)
        if known is None or known.epoch != epoch or sequence > known.up_to or last < known.up_to:
            known = _Known(epoch, last, last, {})
        lines = [
            *(await stream.between(room, sequence, known.after) if sequence < known.after else ()),
            *(await stream.between(room, known.up_to, last) if known.up_to < last else ()),
        ]
        found = {stored.sequence: stored for stored in lines if stored.changes}
        deleted = known.deleted | {stored.deletes for stored in lines if stored.deletes}
        changes = {number: one for number, one in (known.changes | found).items() if number not in deleted}
        if stream.sure and stream.terms.epoch == epoch:
            size = known.size + sum(_LINE_BYTES + len(stored.ready) for stored in found.values())
            after, up_to = min(sequence, known.after), max(last, known.up_to)
            self._remember(room, _Known(epoch, after, up_to, changes, deleted, size))
        return [changes[number] for number in sorted(changes) if number > sequence]

    async def page(self, room: RoomId, limit: int, *, before: int | None) -> Page:
        """Up to `limit` of the newest messages, or of those before a sequence. Bound it with a timeout.

        Raises BusError.
        """
        stream = self._streams.of(room)
        found = await stream.newest(room, limit, before=before)
        lines, older = found.messages, found.older
        wanted, more = sum(stored.changes > 0 for stored in lines), _MORE_MAX
        while older and wanted and more:
            found = await stream.newest(room, wanted, before=lines[0].sequence)
            lines, older = found.messages + lines, found.older
            wanted, more = sum(stored.changes > 0 for stored in found.messages), more - 1
        messages = only_chat(lines)
        if before is None:
            messages = with_changes(messages, (stored for stored in without_deleted(lines) if stored.changes))
        elif messages:
            messages = with_changes(messages, await self.after(room, messages[0].sequence))
        return Page(messages, lines[0].sequence if older else None)

    def _remember(self, room: RoomId, known: _Known) -> None:
        self._forget(room)
        self._rooms[room] = known
        self._size += known.size
        while self._size > _KEPT_MAX_BYTES and len(self._rooms) > 1:
            self._forget(next(iter(self._rooms)))

    def _forget(self, room: RoomId) -> None:
        known = self._rooms.pop(room, None)
        if known is not None:
            self._size -= known.size
