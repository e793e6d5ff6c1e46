"""What one watch over the presence bucket has delivered, taken into a mirror."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

from studyroom.presence.roster import Mirror
from studyroom.presence.watch import committed_ns
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Message
from studyroom.shared.contract import subjects
from studyroom.shared.contract.headers import is_removal
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.incarnation import Record, rfc3339
from studyroom.shared.contract.presence import Entry

log = logs.get(__name__)

Change = Callable[[RoomId, UserId, int, Entry | None], None]
"""Room, user, stream sequence, and the entry or None for a removal."""


@dataclass(slots=True)
class Reading:
    """What one watch has delivered."""

    known: int
    """Sequence of the newest change that was delivered by the watch before."""
    known_ns: int
    """The latest commit of all that was, Unix nanoseconds."""
    mirror: Mirror = field(default_factory=Mirror)
    record: Record | None = None
    newest: int = 0
    newest_ns: int = 0
    committed_ns: int = 0
    """Of the change with the sequence `newest`."""
    pending: int = 0
    """Changes that were still to come when the last one was delivered."""
    rewritten: bool = False
    """A change has a sequence that another one had before: it was committed later than all up to there."""

    def keep_known(self) -> None:
        """The stream is the one of the watch before."""
        if self.known > self.newest:
            self.newest, self.committed_ns = self.known, 0
        self.newest_ns = max(self.newest_ns, self.known_ns)

    def forget_known(self) -> None:
        """The stream is another one than that of the watch before: sequences from there mean other changes."""
        self.known = self.known_ns = 0

    def take(self, message: Message, sequence: int, pending: int, on_change: Change) -> Record | None:
        """Take a change in. The record, when it is one about the stream."""
        committed = self.committed_ns = committed_ns(message.reply)
        self.pending = pending
        self.newest, self.newest_ns = sequence, max(self.newest_ns, committed)
        self.rewritten = self.rewritten or (sequence <= self.known and committed > self.known_ns)
        removed = is_removal(message.headers or {})
        if message.subject == subjects.PRESENCE_INCARNATION:
            self.record = Record.decode(b"" if removed else message.data, sequence, rfc3339(committed))
            return self.record
        room, user, entry = _read(message, sequence, removed=removed)
        if entry is None:
            self.mirror.remove(room, user, sequence)
        else:
            self.mirror.put(room, user, entry, sequence)
        on_change(room, user, sequence, entry)
        return None


def _read(message: Message, sequence: int, *, removed: bool) -> tuple[RoomId, UserId, Entry | None]:
    room, user = subjects.parse_presence_key(message.subject)
    if removed:
        return room, user, None
    try:
        return room, user, Entry.decode(message.data)
    except ValidationError:
        log.error("an entry in the presence bucket is not ours", subject=message.subject, sequence=sequence)
        return room, user, None
