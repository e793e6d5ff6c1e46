"""What a room has to say to its members, collected until the next flush. Pure."""

from dataclasses import dataclass, field
from itertools import accumulate

from studyroom.gateway.wire.items import EPHEMERAL, Item
from studyroom.shared.contract.ids import UserId


@dataclass(frozen=True, slots=True)
class Batch:
    """The frames of one flush, in order, and which of them their own author does not get."""

    items: list[Item]
    own: dict[UserId, list[int]]
    """Indexes of each author's frames."""
    everything: bytes
    _ends: list[int]
    """Where each frame ends in `everything`."""

    def for_member(self, user: UserId) -> bytes:
        """What this member gets."""
        own = self.own.get(user)
        return self.everything if own is None else self.without_own(own)

    def without_own(self, own: list[int]) -> bytes:
        """What the author of the frames with these indexes gets."""
        if len(own) == 1:
            index = own[0]
            start = self._ends[index - 1] if index else 0
            return self.everything[:start] + self.everything[self._ends[index] :]
        skip = frozenset(own)
        return b"".join([item.frame for index, item in enumerate(self.items) if index not in skip])

    def select(self, user: UserId, *, since: int = 0, essential_only: bool = False) -> list[Item]:
        """The frames of a member for whom something else is due.

        `since`: number of frames that came before the member did. `essential_only`: it reads too slowly for others.
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
        """`not_to`: the author, who does not get its own frame back on any connection."""
        if not_to is not None:
            self._own.setdefault(not_to, []).append(len(self._items))
        self._items.append(item)

    def take(self) -> Batch:
        frames = [item.frame for item in self._items]
        batch = Batch(self._items, self._own, b"".join(frames), list(accumulate(map(len, frames))))
        self._items, self._own = [], {}
        return batch
