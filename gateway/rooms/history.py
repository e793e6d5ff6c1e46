"""One room's chat as this gateway knows it: how far members here have been told, and the newest messages.

Pure: messages in, messages to deliver out. Every stored message of the room up to `position` has been delivered to the
members here, or is none of theirs. A message says which one of the room was stored before it, so a gap is seen at once;
what is heard behind a gap waits until the gap has been filled.

A tombstone is a message like any other, and what it deletes is not delivered, remembered or shown any more.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import takewhile
from typing import NamedTuple, Protocol, Self

from studyroom.shared.contract.chat import deleted_by, with_sequence

_WAITING_MAX, _WAITING_MAX_BYTES = 1024, 256 * 1024
"""Messages kept behind a gap. Without the oldest of them there is another gap, which is filled like any other."""
_KEPT_MAX_BYTES = 256 * 1024
"""Of the messages that are remembered; but the newest one always is."""


class Stored(NamedTuple):
    """A stored message. `ready`: the client's `Chat` or `ChatDeleted`; `time`: of its commit, RFC 3339 in UTC."""

    sequence: int
    ready: bytes
    time: str
    ingress_us: int = 0
    """When its gateway read it, Unix microseconds; 0 when that is long ago or unknown."""
    deletes: int = 0
    """The sequence of the message that this one deletes; 0 when it is an ordinary one."""

    @classmethod
    def of(cls, sequence: int, data: bytes, time: str, ingress_us: int = 0) -> Self:
        """What the stream has under this sequence."""
        return cls(sequence, with_sequence(data, sequence), time, ingress_us, deleted_by(data))


def without_deleted(lines: Iterable[Stored], *others: Iterable[Stored]) -> list[Stored]:
    """Without the messages that tombstones among them, or among the others, delete."""
    kept = list(lines)
    deleted = {stored.deletes for group in (kept, *others) for stored in group}
    return [stored for stored in kept if stored.sequence not in deleted]


def only_chat(lines: Iterable[Stored]) -> list[Stored]:
    """What there is to be shown: neither what is deleted, nor the tombstones."""
    return [stored for stored in without_deleted(lines) if not stored.deletes]


class ChatView(Protocol):
    """What a room asks about the stream of chat."""

    history_kept: int
    """How many of the newest messages a room remembers."""

    @property
    def sure(self) -> bool:
        """The stream is the one that positions are of."""

    def newest(self, history: "History") -> list[Stored]:
        """What a newcomer is shown."""

    def epoch(self, presence_epoch: str) -> str:
        """The epoch that clients see, made from the one of the presence stream."""


class Verdict(Enum):
    NEXT = "next"
    """To be delivered now."""
    OLD = "old"
    """Was delivered before."""
    BEHIND_GAP = "behind a gap"
    """Will come out of `fill`: something before it is missing."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """What a joiner is told of the chat before it came. `recovered` is None when it did not ask to resume."""

    recovered: bool | None = None
    since: int = 0
    """When recovered: how far `missed` and the client's own position reach."""
    missed: list[Stored] = field(default_factory=list)


@dataclass(slots=True)
class History:
    """`kept`: how many of the newest messages are remembered, if they are not too large together."""

    kept: int
    position: int | None = None
    """A sequence of the stream; None before `begin`."""
    begun: int = 0
    """Where it began the last time: what is older was not told to members here, not from then on."""
    reach: int = 0
    """Every message of the room between here and `position` is remembered."""
    _tail: deque[Stored] = field(default_factory=deque)
    _tail_bytes: int = 0
    _waiting: deque[tuple[int, Stored]] = field(default_factory=deque)
    """With the sequence of the message before each."""
    _waiting_bytes: int = 0

    @property
    def incomplete(self) -> bool:
        """Something has to be fetched before anything more can be delivered."""
        return self.position is None or bool(self._waiting)

    def passed(self, sequence: int) -> bool:
        """Members here have been told everything up to this sequence."""
        return self.position is not None and self.position >= sequence

    def receive(self, stored: Stored, previous: int, *, sure: bool = True) -> Verdict:
        """`previous`: the room's message before this one when it was stored; 0 when there was none.

        Lower than the position says only that older messages have expired. Not `sure`: it may be of another stream.
        """
        position = self.position
        if position is None or previous > position or self._waiting or not sure:
            self._wait(previous, stored)
            return Verdict.BEHIND_GAP
        if stored.sequence <= position:
            return Verdict.OLD
        self._take(stored)
        return Verdict.NEXT

    def begin(self, reach: int) -> None:
        """Messages up to `reach` are none of ours: those behind it are to be filled in, or heard."""
        self._tail.clear()
        self._tail_bytes = 0
        self.position = self.reach = self.begun = reach

    def fill(self, fetched: Iterable[Stored], up_to: int) -> list[Stored]:
        """What is to be delivered now, in order: nothing that is known to be deleted.

        `fetched`: all messages of the room that are stored behind the position, at least up to sequence `up_to`.
        """
        self.position = self.position or 0
        known = {stored.sequence: (0, stored) for stored in fetched}
        known |= {stored.sequence: (previous, stored) for previous, stored in self._waiting}
        self._waiting.clear()
        self._waiting_bytes = 0
        deleted = {stored.deletes for _, stored in known.values()}
        due = []
        for sequence, (previous, stored) in sorted(known.items()):
            if sequence <= self.position:
                continue
            if sequence > up_to:
                self.position = max(self.position, up_to)
            if self._waiting or (sequence > up_to and previous > self.position):
                self._wait(previous, stored)
            elif sequence in deleted:
                self.position = sequence
            else:
                self._take(stored)
                due.append(stored)
        self.position = max(self.position, up_to)
        return due

    def forget(self) -> None:
        """What was known is void: the stream is another one, or too much has been missed."""
        self.position = None
        self.reach = 0
        self._tail.clear()
        self._waiting.clear()
        self._tail_bytes = self._waiting_bytes = 0

    @property
    def oldest_stored(self) -> Stored | None:
        """The oldest message that is remembered; None for none."""
        return self._tail[0] if self._tail else None

    def before(self, sequence: int) -> list[Stored]:
        """The remembered messages with a lower sequence."""
        return list(takewhile(lambda stored: stored.sequence < sequence, self._tail))

    def drop_before(self, sequence: int) -> None:
        """Messages below this sequence are not stored any more: nobody is to be shown them."""
        while self._tail and self._tail[0].sequence < sequence:
            self._drop_oldest()

    @property
    def newest_stored(self) -> Stored | None:
        """The newest message that is remembered; None for none."""
        return self._tail[-1] if self._tail else None

    @property
    def newest_sequence(self) -> int:
        """That of the newest message that is remembered; 0 for none."""
        return self._tail[-1].sequence if self._tail else 0

    def is_rewritten(self, repeated: Stored) -> bool:
        """A message has a sequence that was passed before, and was committed later than what is remembered."""
        newest = self.newest_stored
        return newest is not None and datetime.fromisoformat(repeated.time) > datetime.fromisoformat(newest.time)

    def is_another(self, copy: Stored) -> bool:
        """Members know another message by the sequence of what was read from the stream, as far as can be told."""
        for kept in self.behind(copy.sequence - 1)[:1]:
            if kept.sequence == copy.sequence:
                return kept.ready != copy.ready
        return self.is_rewritten(copy)

    @property
    def awaited(self) -> int:
        """The newest sequence that is known to have been stored and was not heard; 0 for none."""
        return max((previous for previous, _ in self._waiting), default=0)

    def behind(self, sequence: int) -> list[Stored]:
        """The remembered messages with a higher sequence: all there are, when `sequence` is not below `reach`.

        With the tombstones: whoever was here before may have seen what they delete.
        """
        newer = list(takewhile(lambda stored: stored.sequence > sequence, reversed(self._tail)))
        newer.reverse()
        return newer

    def newest(self, count: int, *, not_before: str = "", first: int = 0) -> list[Stored]:
        """`not_before`: RFC 3339 in UTC without the Z; older messages are left out, and those below `first`."""
        if not count:
            return []
        lines = self.without_deleted(stored for stored in self._tail if not stored.deletes)[-count:]
        return [stored for stored in lines if stored.sequence >= first and stored.time.rstrip("Z") >= not_before]

    def without_deleted(self, lines: Iterable[Stored]) -> list[Stored]:
        """Without what tombstones delete that are among them, or still wait behind a gap."""
        return without_deleted(lines, (stored for _, stored in self._waiting))

    def _take(self, stored: Stored) -> None:
        deleted = stored.deletes
        if deleted > self.reach:
            self._tail = deque(kept for kept in self._tail if kept.sequence != deleted)
            self._tail_bytes = sum(len(kept.ready) for kept in self._tail)
        self._tail.append(stored)
        self._tail_bytes += len(stored.ready)
        self.position = stored.sequence
        while len(self._tail) > self.kept or (self._tail_bytes > _KEPT_MAX_BYTES and len(self._tail) > 1):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._tail.popleft()
        self._tail_bytes -= len(oldest.ready)
        self.reach = oldest.sequence

    def _wait(self, previous: int, stored: Stored) -> None:
        self._waiting.append((previous, stored))
        self._waiting_bytes += len(stored.ready)
        while len(self._waiting) > _WAITING_MAX or (
            self._waiting_bytes > _WAITING_MAX_BYTES and len(self._waiting) > 1
        ):
            self._waiting_bytes -= len(self._waiting.popleft()[1].ready)
