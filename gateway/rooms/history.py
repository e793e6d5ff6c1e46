"""The chat of one hosted room: the position up to which local members have it, and the newest messages.

Pure: messages in, messages to deliver out. Every stored message of the room up to `position` was delivered to local
members, or is older than their memberships. Each message names the one of the room that was stored before it, so a gap
shows at once. Messages after a gap wait until the gap is filled.

A tombstone is a message like any other. The message that it deletes is not delivered, remembered or shown any more.
So are edits and reactions. Clients that get a message late get it as it is now, and its edits and reactions all the
same, which change nothing then.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import takewhile
from typing import NamedTuple, Protocol, Self

from studyroom.gateway.wire.items import Kind
from studyroom.shared.contract.chat import changed_by, deleted_by, is_edit, is_reset, with_sequence
from studyroom.shared.contract.folding import folded

_WAITING_MAX, _WAITING_MAX_BYTES = 1024, 256 * 1024
"""Limits on the messages that wait after a gap. If the oldest are dropped, that is another gap to fill."""
_KEPT_MAX_BYTES = 256 * 1024
"""Limit on the remembered messages together. The newest one is always remembered."""
OTHERS_KEPT_MAX = 1024
"""How many tombstones, edits and reactions are remembered besides the messages."""


class Stored(NamedTuple):
    """A stored message, tombstone, edit or reaction.

    `ready`: the message for clients. `time`: of the commit, RFC 3339 in UTC.
    """

    sequence: int
    ready: bytes
    time: str
    ingress_us: int = 0
    """When the author's gateway read it, in Unix microseconds; 0 if that is long ago or unknown."""
    deletes: int = 0
    """The sequence of the message that this tombstone deletes; 0 for anything else."""
    changes: int = 0
    """The sequence of the message that this edit or reaction changes; 0 for anything else."""

    @classmethod
    def of(cls, sequence: int, data: bytes, time: str, ingress_us: int = 0) -> Self:
        """From the data that the stream has at this sequence."""
        return cls(sequence, with_sequence(data, sequence), time, ingress_us, deleted_by(data), changed_by(data))

    @property
    def is_message(self) -> bool:
        return not self.deletes and not self.changes

    @property
    def resets(self) -> bool:
        """Whether this tombstone deletes something that clients cannot take back."""
        return self.deletes > 0 and is_reset(self.ready)

    @property
    def kind(self) -> Kind:
        if self.changes:
            return Kind.EDITED if is_edit(self.ready) else Kind.REACTION
        return Kind.DELETED if self.deletes else Kind.CHAT


def without_deleted(lines: Iterable[Stored], *others: Iterable[Stored]) -> list[Stored]:
    """The messages that no tombstone in `lines` or `others` deletes."""
    kept = list(lines)
    deleted = {stored.deletes for group in (kept, *others) for stored in group}
    return [stored for stored in kept if stored.sequence not in deleted]


def with_changes(lines: Iterable[Stored], *others: Iterable[Stored]) -> list[Stored]:
    """The lines, with each message as its edits and reactions in `lines` and `others` have made it.

    These must be all of the message, in order. A change that is older than its message was meant for a message of an
    earlier stream, with the same sequence.
    """
    kept = list(lines)
    changes: dict[int, list[bytes]] = defaultdict(list)
    for stored in (stored for group in (kept, *others) for stored in group if 0 < stored.changes < stored.sequence):
        changes[stored.changes].append(stored.ready)
    if not changes:
        return kept
    return [
        stored._replace(ready=folded(stored.ready, changes[stored.sequence]))
        if stored.is_message and stored.sequence in changes
        else stored
        for stored in kept
    ]


def only_chat(lines: Iterable[Stored]) -> list[Stored]:
    """The messages without deleted ones, and without tombstones, edits and reactions."""
    return [stored for stored in without_deleted(lines) if stored.is_message]


class ChatView(Protocol):
    """The stream of chat as a room sees it."""

    history_kept: int
    """How many of the newest messages a room remembers."""

    @property
    def sure(self) -> bool:
        """Whether it is certain that the positions of rooms belong to the present stream."""

    def newest(self, history: "History") -> list[Stored]:
        """The messages that a new member gets."""

    def epoch(self, presence_epoch: str) -> str:
        """The epoch that clients see. It depends on the epoch of the presence stream."""


class Verdict(Enum):
    NEXT = "next"
    """Deliver it now."""
    OLD = "old"
    """It was delivered before."""
    AFTER_GAP = "after a gap"
    """Messages before it are missing. A later `fill` returns it."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """The chat before a join. `recovered`: whether the resume succeeded; None if the client did not ask to resume."""

    recovered: bool | None = None
    since: int = 0
    """If recovered: the sequence up to which the client has the chat with `missed`."""
    missed: list[Stored] = field(default_factory=list)


@dataclass(slots=True)
class History:
    """`kept`: how many of the newest messages are remembered, if they are not too large together."""

    kept: int
    position: int | None = None
    """A sequence of the stream; None before `begin`."""
    begun: int = 0
    """The position at the last `begin`. Local members got no older messages from then on."""
    reach: int = 0
    """Every message of the room after this sequence, up to `position`, is remembered."""
    _announced: int = 0
    """The newest sequence that another gateway has announced since `take_announced`."""
    _tail: deque[Stored] = field(default_factory=deque)
    _tail_bytes: int = 0
    _tail_messages: int = 0
    """How many lines of the tail are messages."""
    _shown: list[Stored] | None = None
    """The messages of the tail as they are now; None if they must be folded again."""
    _waiting: deque[tuple[int, Stored]] = field(default_factory=deque)
    """Messages after a gap, each with the sequence of the one before it."""
    _waiting_bytes: int = 0

    @property
    def incomplete(self) -> bool:
        """Messages must be read from the stream before more can be delivered."""
        return self.position is None or bool(self._waiting)

    def passed(self, sequence: int) -> bool:
        """Whether local members have all messages up to this sequence."""
        return self.position is not None and self.position >= sequence

    def announce(self, data: bytes) -> int:
        """Another gateway has the message with this decimal sequence. Returns it if local members lack it, else 0."""
        sequence = int(data) if data.isdigit() else 0
        self._announced = max(self._announced, sequence)
        return sequence if self.position is not None and self.position < sequence else 0

    def take_announced(self) -> int:
        """The newest sequence that another gateway has announced since the last call; 0 if none."""
        announced, self._announced = self._announced, 0
        return announced

    def receive(self, stored: Stored, previous: int, *, sure: bool = True) -> Verdict:
        """Take a message from the bus.

        `previous`: the sequence of the room's message before this one when it was stored; 0 if there was none. If it is
        lower than the position, older messages have expired. `sure`: False if the message may be from another stream.
        """
        position = self.position
        if position is None or previous > position or self._waiting or not sure:
            self._wait(previous, stored)
            return Verdict.AFTER_GAP
        if stored.sequence <= position:
            return Verdict.OLD
        self._take(stored)
        return Verdict.NEXT

    def begin(self, reach: int) -> None:
        """Start after the sequence `reach`. Messages after it come through `fill` or `receive`."""
        self._clear_tail()
        self.position = self.reach = self.begun = reach

    def fill(self, fetched: Iterable[Stored], up_to: int) -> list[Stored]:
        """Fill the gap. Returns the messages to deliver now, in order and without deleted ones.

        `fetched`: all messages of the room that are stored after the position, at least up to the sequence `up_to`.
        """
        self.position = self.position or 0
        known = {stored.sequence: (0, stored) for stored in fetched}
        known |= {stored.sequence: (previous, stored) for previous, stored in self._waiting}
        self._waiting.clear()
        self._waiting_bytes = 0
        deleted = {stored.deletes for _, stored in known.values()}
        deliverable = []
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
                deliverable.append(stored)
        self.position = max(self.position, up_to)
        return with_changes(deliverable)

    def forget(self) -> None:
        """Forget everything, because the stream is another one, or too many messages are missing."""
        self.position = None
        self.reach = 0
        self._clear_tail()
        self._waiting.clear()
        self._waiting_bytes = 0

    @property
    def oldest_stored(self) -> Stored | None:
        """The oldest remembered message, if any."""
        return self._tail[0] if self._tail else None

    def find(self, sequence: int) -> Stored | None:
        """The remembered line with this sequence, as the stream has it; None if there is none."""
        return next((stored for stored in reversed(self._tail) if stored.sequence == sequence), None)

    def lacks(self, sequence: int) -> bool:
        """Whether this is certainly no line of the room, because it would be remembered: it may be deleted."""
        return self.reach < sequence and self.passed(sequence) and self.find(sequence) is None

    def edits_of_unknown(self, lines: Iterable[Stored]) -> list[Stored]:
        """The edits among the lines of messages that are not remembered: they may be deleted, or just old."""
        return [line for line in lines if line.kind is Kind.EDITED and self.find(line.changes) is None]

    def now(self, message: Stored) -> Stored:
        """The message as its remembered edits and reactions have made it."""
        return with_changes([message], self._tail)[0]

    def before(self, sequence: int) -> list[Stored]:
        """The remembered messages with a lower sequence."""
        return list(takewhile(lambda stored: stored.sequence < sequence, self._tail))

    def drop_before(self, sequence: int) -> None:
        """Forget messages below this sequence, because they are not stored any more."""
        while self._tail and self._tail[0].sequence < sequence:
            self._drop_oldest()

    @property
    def newest_stored(self) -> Stored | None:
        """The newest remembered message, if any."""
        return self._tail[-1] if self._tail else None

    @property
    def newest_sequence(self) -> int:
        """The sequence of the newest remembered message; 0 if there is none."""
        return self._tail[-1].sequence if self._tail else 0

    def is_rewritten(self, repeated: Stored) -> bool:
        """Whether the stream lost its tail: a message with an old sequence is newer than all remembered messages."""
        newest = self.newest_stored
        return newest is not None and datetime.fromisoformat(repeated.time) > datetime.fromisoformat(newest.time)

    def is_another(self, copy: Stored) -> bool:
        """Whether members have seen another message with the sequence of this one from the stream."""
        for kept in self.after(copy.sequence - 1)[:1]:
            if kept.sequence == copy.sequence:
                return kept.ready != copy.ready
        return self.is_rewritten(copy)

    @property
    def awaited(self) -> int:
        """The newest sequence that was stored and not received; 0 if there is none."""
        return max((previous for previous, _ in self._waiting), default=0)

    def after(self, sequence: int) -> list[Stored]:
        """The remembered messages with a higher sequence. They are complete if `sequence` is not below `reach`.

        Tombstones are included, because members may have seen the messages that they delete.
        """
        newer = list(takewhile(lambda stored: stored.sequence > sequence, reversed(self._tail)))
        newer.reverse()
        return newer

    def newest(self, count: int, *, not_before: str = "", first: int = 0) -> list[Stored]:
        """Up to `count` of the newest remembered messages as they are now, without deleted ones.

        `not_before`: the earliest commit time, RFC 3339 in UTC without the Z. `first`: the lowest sequence.
        """
        if not count:
            return []
        if self._shown is None:
            self._shown = [stored for stored in with_changes(self._tail) if stored.is_message]
        lines = self.without_deleted(self._shown)[-count:]
        return [stored for stored in lines if stored.sequence >= first and stored.time.rstrip("Z") >= not_before]

    def without_deleted(self, lines: Iterable[Stored]) -> list[Stored]:
        """The messages that no tombstone in `lines` or after a gap deletes."""
        return without_deleted(lines, (stored for _, stored in self._waiting))

    def _take(self, stored: Stored) -> None:
        deleted = stored.deletes
        if deleted > self.reach:
            self._tail = deque(kept for kept in self._tail if kept.sequence != deleted)
            self._tail_bytes = sum(len(kept.ready) for kept in self._tail)
            self._tail_messages = sum(kept.is_message for kept in self._tail)
        self._tail.append(stored)
        self._tail_bytes += len(stored.ready)
        self._tail_messages += stored.is_message
        self._shown = None
        self.position = stored.sequence
        while (
            self._tail_messages > self.kept
            or len(self._tail) > self.kept + OTHERS_KEPT_MAX
            or (self._tail_bytes > _KEPT_MAX_BYTES and len(self._tail) > 1)
        ):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._tail.popleft()
        self._tail_bytes -= len(oldest.ready)
        self._tail_messages -= oldest.is_message
        self._shown = None
        self.reach = oldest.sequence

    def _clear_tail(self) -> None:
        self._tail.clear()
        self._tail_bytes = self._tail_messages = 0
        self._shown = None

    def _wait(self, previous: int, stored: Stored) -> None:
        self._waiting.append((previous, stored))
        self._waiting_bytes += len(stored.ready)
        while len(self._waiting) > _WAITING_MAX or (
            self._waiting_bytes > _WAITING_MAX_BYTES and len(self._waiting) > 1
        ):
            self._waiting_bytes -= len(self._waiting.popleft()[1].ready)
