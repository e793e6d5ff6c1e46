"""What a room has to say to its members, collected until the next flush."""

from dataclasses import dataclass, field
from enum import StrEnum

from shared.ids import UserId


class Kind(StrEnum):
    """What a frame carries, as metrics label it."""

    CHAT = "Chat"
    CURSOR = "CursorUpdate"
    TYPING = "TypingStatus"
    JOINED = "UserJoined"
    UPDATED = "UserUpdated"
    LEFT = "UserLeft"


@dataclass(frozen=True, slots=True)
class Item:
    frame: bytes
    kind: Kind
    ingress_us: int = 0
    """When the gateway of its author read it, Unix microseconds; 0 when nobody sent it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The frames of one flush, in order, and which of them their own author does not get."""

    items: list[Item]
    _own: dict[UserId, list[int]]
    everything: bytes

    def for_member(self, user: UserId, *, since: int = 0) -> bytes:
        """What this member gets. `since`: number of frames that came before the member did."""
        own = self._own.get(user)
        if own is None and since == 0:
            return self.everything
        skip = frozenset(own or ())
        return b"".join(item.frame for index, item in enumerate(self.items) if index >= since and index not in skip)

    def withheld(self, user: UserId, *, since: int = 0) -> list[Item]:
        """What `for_member` leaves out."""
        own = [self.items[index] for index in self._own.get(user, ()) if index >= since]
        return self.items[:since] + own


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
        batch = Batch(self._items, self._own, b"".join([item.frame for item in self._items]))
        self._items, self._own = [], {}
        return batch
