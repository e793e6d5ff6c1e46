"""The orders of moderators as this gateway knows them. Pure: changes in, what is to be carried out is returned."""

from dataclasses import dataclass, field

from shared.ids import RoomId, UserId
from shared.moderation import Kind, Order, Target


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the bucket. Without an order: what was ordered before holds no more."""

    sequence: int
    target: Target
    order: Order | None


@dataclass(slots=True)
class Orders:
    position: int = 0
    """Every change up to this sequence of the bucket is known."""
    _bans: dict[tuple[UserId, RoomId | None], Order] = field(default_factory=dict)
    _carried_out: int = 0
    """Orders up to this sequence were carried out here. It does not go back when the bucket is read again."""

    def ban_of(self, user: UserId, room: RoomId | None = None) -> Order | None:
        """From the room, or from everything."""
        return self._bans.get((user, None)) or (self._bans.get((user, room)) if room is not None else None)

    def bans(self) -> dict[tuple[UserId, RoomId | None], Order]:
        return dict(self._bans)

    def hear(self, change: Change) -> Target | None:
        """The next change. What is to be carried out because of it."""
        self.position = change.sequence
        return self._take(change)

    def load(self, changes: list[Change], position: int, *, replaced: bool) -> list[Target]:
        """All that is in the bucket, in order, as of `position`. `replaced`: the bucket is another one."""
        if replaced:
            self._carried_out = 0
        self._bans.clear()
        due = [target for change in changes if (target := self._take(change)) is not None]
        self.position = position
        self._carried_out = max(self._carried_out, position)
        return due

    def _take(self, change: Change) -> Target | None:
        target = change.target
        if target.kind is Kind.BAN:
            self._bans.pop((target.user, target.room), None)
            if change.order is not None:
                self._bans[target.user, target.room] = change.order
        if change.order is None or change.sequence <= self._carried_out:
            return None
        self._carried_out = change.sequence
        return target
