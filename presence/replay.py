"""Decodes the changes that a watch over the presence bucket delivers, and applies them to a mirror."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

from studyroom.presence.roster import Mirror
from studyroom.presence.watch import committed_ns
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import ENDED, is_removal
from studyroom.shared.contract.ids import MembershipId, RoomId, UserId
from studyroom.shared.contract.incarnation import Record, rfc3339
from studyroom.shared.contract.presence import Entry

log = logs.get(__name__)

OnChange = Callable[[RoomId, UserId, int, Entry | None], None]
"""`on_change(room, user, stream sequence, entry)`, with None as the entry for a removal."""


@dataclass(slots=True)
class Replay:
    """The progress of one watch, and the mirror made of its changes."""

    previous: int
    """The sequence of the newest change that the watch before this one delivered."""
    previous_ns: int
    """The latest commit time among those changes, in Unix nanoseconds."""
    incarnation: str = subjects.PRESENCE_INCARNATION
    """The key of the record about the stream itself."""
    mirror: Mirror = field(default_factory=Mirror)
    record: Record | None = None
    newest: int = 0
    newest_ns: int = 0
    """The latest commit time among the changes of this watch, in Unix nanoseconds."""
    committed_ns: int = 0
    """The commit time of the change with the sequence `newest`."""
    pending: int = 0
    """The number of changes that NATS had yet to deliver after the last one."""
    rewritten: bool = False
    """Whether a change has a sequence that another change had before, because the stream was shorter in between."""

    def continue_previous(self) -> None:
        """Carry on from the watch before, which read the same stream."""
        if self.previous > self.newest:
            self.newest, self.committed_ns = self.previous, 0
        self.newest_ns = max(self.newest_ns, self.previous_ns)

    def forget_previous(self) -> None:
        """Forget the watch before, which read another stream, where sequences mean other changes."""
        self.previous = self.previous_ns = 0

    def apply(self, message: Message, sequence: int, pending: int, on_change: OnChange) -> Record | None:
        """Apply a change to the mirror. Return the record if the change is a record about the stream itself."""
        committed = self.committed_ns = committed_ns(message.reply)
        self.pending = pending
        self.newest, self.newest_ns = sequence, max(self.newest_ns, committed)
        self.rewritten = self.rewritten or (sequence <= self.previous and committed > self.previous_ns)
        headers = message.headers or {}
        removed = is_removal(headers)
        if message.subject == self.incarnation:
            self.record = Record.decode(b"" if removed else message.data, sequence, rfc3339(committed))
            return self.record
        room, user, entry = _decode(message, sequence, removed=removed)
        if entry is None:
            self.mirror.remove(room, user, sequence)
        else:
            self.mirror.put(room, user, entry, sequence)
        if ENDED in headers:
            self.mirror.end(MembershipId(headers[ENDED]))
        on_change(room, user, sequence, entry)
        return None


def _decode(message: Message, sequence: int, *, removed: bool) -> tuple[RoomId, UserId, Entry | None]:
    room, user = subjects.parse_presence_key(message.subject)
    if removed:
        return room, user, None
    try:
        return room, user, Entry.decode(message.data)
    except ValidationError:
        log.error("cannot decode an entry of the presence bucket", subject=message.subject, sequence=sequence)
        return room, user, None
