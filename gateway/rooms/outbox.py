"""The frames that a room collects for its members until the next flush. Pure."""

from dataclasses import dataclass, field
from itertools import accumulate

from studyroom.gateway.wire.items import EPHEMERAL, Item
from studyroom.shared.contract.ids import UserId


@dataclass(frozen=True, slots=True)
class Batch:
    """The frames of one flush, in order. Some of them do not go to their own author."""

    items: list[Item]
    own: dict[UserId, list[int]]
    """The indexes of the frames that an author does not get."""
    everything: bytes
    """All frames, joined."""
    _ends: list[int]
    """The offset in `everything` at which each frame ends."""

    @property
    def authors(self) -> dict[int, UserId]:
        """The authors of those frames, by their indexes."""
        return {index: author for author, indexes in self.own.items() for index in indexes}

    def for_member(self, user: UserId) -> bytes:
        """The joined frames for this member."""
        own = self.own.get(user)
        return self.everything if own is None else self.without_own(own)

    def without_own(self, own: list[int]) -> bytes:
        """The joined frames without those at these indexes."""
        if len(own) == 1:
            index = own[0]
            start = self._ends[index - 1] if index else 0
            return self.everything[:start] + self.everything[self._ends[index] :]
        skip = frozenset(own)
        return b"".join([item.frame for index, item in enumerate(self.items) if index not in skip])

    def select(self, user: UserId, *, since: int = 0, essential_only: bool = False) -> list[Item]:
        """The frames for a member that gets only a part of the batch.

        `since`: how many frames to skip, because they are older than the membership. `essential_only`: leave out
        ephemeral frames, because the client is a slow consumer.
        """
        skip = frozenset(self.own.get(user, ()))
        return [
            item
            for index, item in enumerate(self.items)
            if index >= since and index not in skip and not (essential_only and item.kind in EPHEMERAL)
        ]


@dataclass(slots=True)
class Outbox:
    _items: list[Item] = field(default_factory=list)
    _own: dict[UserId, list[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Item, *, not_to: UserId | None = None) -> None:
        """`not_to`: the author, who does not get the frame on any connection."""
        if not_to is not None:
            self._own.setdefault(not_to, []).append(len(self._items))
        self._items.append(item)

    def take(self) -> Batch:
        frames = [item.frame for item in self._items]
        batch = Batch(self._items, self._own, b"".join(frames), list(accumulate(map(len, frames))))
        self._items, self._own = [], {}
        return batch
