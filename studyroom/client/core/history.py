"""The stored messages of one room, in order and each once, with the position from which to resume."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import NamedTuple

from studyroom.client.values import ChatMessage
from studyroom.shared.contract.messages import JoinedRoomPayload

_NEWCOMER_BYTES = 256 * 1024
"""The server sends a newcomer at most so many bytes of messages."""
_MESSAGE_BYTES = 300
"""About what a message takes besides its content."""


Change = Callable[[ChatMessage], ChatMessage]
"""Returns a message as an edit or a reaction makes it, or the same one."""


class Resume(NamedTuple):
    """The fields of `JoinRoom` that ask for the missed messages."""

    since: int | None
    epoch: str | None


class History:
    def __init__(self, limit: int) -> None:
        """`limit`: the most messages to keep. It grows with earlier messages that the program asks for."""
        self._limit = limit
        self._messages: list[ChatMessage] = []
        self._seqs: list[int] = []
        """The positions of those."""
        self._epoch: str | None = None
        self._position: int | None = None
        self._awaited = 0
        """The number of earlier messages that have not arrived yet."""
        self._newcomer_bytes = 0
        """How many bytes of messages a newcomer may still get."""
        self._deleted_meanwhile: set[int] | None = None
        """Positions that were deleted while a page of earlier messages was on its way. None at other times."""
        self._changed_meanwhile: list[tuple[int, Change]] = []
        """Changes of messages that came during that time."""
        self.before: int | None = None
        """Every message from this position on is shown or deleted. None before any is known."""
        self.has_more = False
        """Whether there may be messages before `before`."""
        self.is_whole = False
        """Whether the server has answered that there is nothing before."""
        self.round = 0
        """Counts how often the messages have started over."""

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        return tuple(self._messages)

    @property
    def begun(self) -> bool:
        """Whether the room was joined before."""
        return self._epoch is not None

    @property
    def complete(self) -> bool:
        """Whether all earlier messages have arrived."""
        return self._awaited == 0

    @property
    def resume(self) -> Resume:
        return Resume(None, None) if self._position is None else Resume(self._position, self._epoch)

    def joined(self, joined: JoinedRoomPayload, history_length: int) -> bool:
        """Return whether the messages shown so far are void. The messages that follow replace them.

        `history_length`: how many messages a newcomer gets at most.
        """
        replaced = not joined.recovered and self.begun
        if not joined.recovered:
            self._start_over()
            # The server sends fewer than that if there are no more, or if they would be too large together.
            self.has_more = joined.history >= history_length
        self._epoch = joined.epoch
        self._awaited = joined.history
        # Otherwise the messages that follow move the position. After a resume, notices of deletions may follow too.
        if not joined.history and not joined.recovered and joined.last_seq is not None:
            self._move_to(joined.last_seq)
        return replaced

    def add(self, message: ChatMessage, seq: int, *, in_order: bool) -> bool:
        """Return whether the message is new here. `in_order`: everything before it has come."""
        if in_order:
            self._move_to(seq)
        if self._awaited > 0:
            self._arrived(message)
        index = bisect_left(self._seqs, seq)
        if index < len(self._seqs) and self._seqs[index] == seq:
            return False
        self.before = seq if self.before is None else min(self.before, seq)
        self._messages.insert(index, message)
        self._seqs.insert(index, seq)
        self._trim()
        return True

    def loading(self) -> int | None:
        """Begin to load earlier messages. Return the position that they end before; None for the newest page."""
        self._deleted_meanwhile = set()
        return self.before

    def loaded(self, page: Iterable[ChatMessage], before: int | None) -> tuple[ChatMessage, ...]:
        """Add a page of earlier messages. `before`: the position that the next page ends before, or None.

        Return the messages that are new here.
        """
        known = {None, *self._seqs, *(self._deleted_meanwhile or ())}
        fresh = tuple(self._up_to_date(message) for message in page if message.seq not in known)
        self.not_loaded()
        self._limit += len(fresh)
        both = sorted([*fresh, *self._messages], key=lambda message: message.seq or 0)
        self._messages, self._seqs = both, [message.seq or 0 for message in both]
        if before is not None or fresh:
            self.before = before if before is not None else fresh[0].seq
        self.has_more = before is not None
        self.is_whole = before is None
        return fresh

    def not_loaded(self) -> None:
        self._deleted_meanwhile = None
        self._changed_meanwhile = []

    def change(self, seq: int, change: Change) -> ChatMessage | None:
        """Return the message at this position as it is now, or None if it is not here or is the same as before."""
        if self._deleted_meanwhile is not None:
            self._changed_meanwhile.append((seq, change))
        index = bisect_left(self._seqs, seq)
        if index == len(self._seqs) or self._seqs[index] != seq:
            return None
        before = self._messages[index]
        self._messages[index] = after = change(before)
        return after if after != before else None

    def remove(self, deleted_seq: int, seq: int) -> None:
        """Remove a deleted message. Its notice has a position of its own, like a message."""
        self._move_to(seq)
        if self._deleted_meanwhile is not None:
            self._deleted_meanwhile.add(deleted_seq)
        index = bisect_left(self._seqs, deleted_seq)
        if index < len(self._seqs) and self._seqs[index] == deleted_seq:
            del self._messages[index], self._seqs[index]

    def reset(self, epoch: str) -> None:
        """Forget the position, so that the next join starts over."""
        self._epoch = epoch
        self.round += 1
        self._position = None

    def interrupted(self) -> None:
        """Stop waiting for earlier messages, because the connection is lost."""
        self._awaited = 0

    def _start_over(self) -> None:
        self.round += 1
        self._messages, self._seqs = [], []
        self._position = self.before = None
        self.is_whole = False
        self._newcomer_bytes = _NEWCOMER_BYTES

    def _up_to_date(self, message: ChatMessage) -> ChatMessage:
        for seq, change in self._changed_meanwhile:
            if seq == message.seq:
                message = change(message)
        return message

    def _arrived(self, message: ChatMessage) -> None:
        self._awaited -= 1
        self._newcomer_bytes -= _MESSAGE_BYTES + len(message.content.encode())
        if self._newcomer_bytes < 0:
            self.has_more = True

    def _trim(self) -> None:
        surplus = len(self._messages) - self._limit
        if surplus > 0:
            del self._messages[:surplus], self._seqs[:surplus]
            self.before = self._seqs[0] if self._seqs else None
            self.has_more, self.is_whole = True, False

    def _move_to(self, position: int) -> None:
        self._position = max(self._position or 0, position)
