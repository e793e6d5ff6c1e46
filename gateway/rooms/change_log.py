"""The committed changes of a room that were received since the log was invalidated, and whether any may be missing.

The leader of the stream learns of a subscription some time after it was made, or made again after a reconnect.
Once the gateway has received one committed change, it receives all later ones. So no change is missing if the roster is
at least as new as the first change received.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.presence import Entry

_KEPT = 4096
"""Changes kept until a roster is loaded. Older ones are in any roster that presence returns by then."""


@dataclass(frozen=True, slots=True)
class CommittedChange:
    """One committed change. `entry`: None for a removal. `time`: of the commit, in RFC 3339."""

    user: UserId
    sequence: int
    entry: Entry | None
    time: str


@dataclass(slots=True)
class ChangeLog:
    loaded: int | None = None
    """Revision of the newest roster loaded since the log was invalidated; None if there is none."""
    last: int = 0
    """Sequence of the newest change received."""
    _first: int = 0
    """Sequence of the first change received since the log was invalidated; 0 if there is none."""
    _kept: deque[CommittedChange] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _waiters: list[tuple[int, "asyncio.Future[None]"]] = field(default_factory=list)
    """Futures of `includes`, each with the sequence that it waits for."""

    @property
    def consistent(self) -> bool:
        """A roster is loaded, and no change since then is missing."""
        return self.loaded is not None and 0 < self._first <= self.loaded

    @property
    def revision(self) -> int:
        """Every change up to here was received or is in the roster, unless one was lost silently."""
        return max(self.loaded or 0, self.last)

    def invalidate(self) -> None:
        """Changes may be missing. To be consistent again, the room needs a new roster and a change received from now
        on."""
        self.loaded = None
        self._first = 0

    def record(self, change: CommittedChange) -> None:
        self._first = self._first or change.sequence
        self.last = max(self.last, change.sequence)
        if self.loaded is None:
            self._kept.append(change)

    def confirm(self, revision: int) -> None:
        """Presence has confirmed the roster as of `revision`."""
        self.loaded = max(self.loaded or 0, revision)
        self._kept.clear()

    def load(self, revision: int, *, replaced: str | None = None) -> list[CommittedChange]:
        """A roster as of `revision` was loaded. Returns the changes to apply to it, which include old ones.

        `replaced`: set if the roster is from another stream than the last one. It is the creation time of that stream
        (RFC 3339). Sequences of the old stream mean nothing in it.
        """
        kept, self._kept = self._kept, deque(maxlen=_KEPT)
        if replaced is not None:
            created = datetime.fromisoformat(replaced)
            kept = deque(change for change in kept if datetime.fromisoformat(change.time) >= created)
            self.loaded = None
            self._first = kept[0].sequence if kept else 0
            self.last = max((change.sequence for change in kept), default=0)
        self.loaded = max(self.loaded or 0, revision)
        return list(kept)

    async def includes(self, sequence: int) -> None:
        """Returns at `wake_waiters` when nothing is missing and the change with this sequence was received."""
        if self.consistent and self.last >= sequence:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((sequence, future))
        await future

    def wake_waiters(self) -> None:
        """The roster has all changes that were recorded or loaded."""
        if not self._waiters or not self.consistent:
            return
        still_waiting = []
        for sequence, future in self._waiters:
            if future.done():  # the waiting task was cancelled
                continue
            if sequence > self.last:
                still_waiting.append((sequence, future))
            else:
                future.set_result(None)
        self._waiters = still_waiting
