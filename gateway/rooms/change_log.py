"""What was heard of a room's committed changes since the last doubt, and whether any can have been missed.

Pure. A subscription is new to the stream's leader some time after it was made, or made again after a reconnect. Once
one committed change has been heard all later ones will be, so nothing is missing when the roster is at least as new
as the first change heard.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.presence import Entry

_KEPT = 4096
"""Changes kept until a roster comes. Older ones are in any roster that is asked for now."""


@dataclass(frozen=True, slots=True)
class CommittedChange:
    """One committed change; `entry` is None for a removal, `time` is when it was committed (RFC 3339)."""

    user: UserId
    sequence: int
    entry: Entry | None
    time: str


@dataclass(slots=True)
class ChangeLog:
    loaded: int | None = None
    """Revision of the newest roster taken since the last doubt; None before one is."""
    last: int = 0
    """Sequence of the newest change heard."""
    _first: int = 0
    """Sequence of the first change heard since the last doubt; 0 before."""
    _kept: deque[CommittedChange] = field(default_factory=lambda: deque(maxlen=_KEPT))

    @property
    def consistent(self) -> bool:
        return self.loaded is not None and 0 < self._first <= self.loaded

    @property
    def revision(self) -> int:
        """Every change up to here has been heard or is in the roster, as far as we know."""
        return max(self.loaded or 0, self.last)

    def invalidate(self) -> None:
        """Changes may have been missed: a new roster is needed, and a change heard from now on as proof."""
        self.loaded = None
        self._first = 0

    def record(self, change: CommittedChange) -> None:
        self._first = self._first or change.sequence
        self.last = max(self.last, change.sequence)
        if self.loaded is None:
            self._kept.append(change)

    def confirm(self, revision: int) -> None:
        """What is known was found to be the roster as of `revision`."""
        self.loaded = max(self.loaded or 0, revision)
        self._kept.clear()

    def load(self, revision: int, *, replaced: str | None = None) -> list[CommittedChange]:
        """A roster as of `revision` was taken. Returns the changes that are to be applied to it, old ones included.

        `replaced`: the roster is of another stream than what was heard before; when that one was made (RFC 3339).
        Sequences of the old stream mean nothing in it.
        """
        kept, self._kept = self._kept, deque(maxlen=_KEPT)
        if replaced is not None:
            made = datetime.fromisoformat(replaced)
            kept = deque(change for change in kept if datetime.fromisoformat(change.time) >= made)
            self.loaded = None
            self._first = kept[0].sequence if kept else 0
            self.last = max((change.sequence for change in kept), default=0)
        self.loaded = max(self.loaded or 0, revision)
        return list(kept)
