"""The orders of moderators as this gateway knows them. Pure: changes in, what is to be carried out is returned."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.ids import RoomId, UserId
from shared.moderation import Kind, Order, Target

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the bucket. Without an order: what was ordered before holds no more."""

    sequence: int
    target: Target
    order: Order | None
    committed: datetime = NEVER


@dataclass(slots=True)
class Orders:
    position: int = 0
    """Every change up to this sequence of the bucket is known."""
    _bans: dict[tuple[UserId, RoomId | None], Order] = field(default_factory=dict)
    _carried_out: int = 0
    """Orders up to this sequence were carried out here. It does not go back when the bucket is read again."""
    newest: tuple[int, datetime] = (0, NEVER)
    """Sequence of the newest change that is known, and the latest commit of all that are."""

    def ban_of(self, user: UserId, room: RoomId | None = None) -> Order | None:
        """From the room, or from everything."""
        return self._bans.get((user, None)) or (self._bans.get((user, room)) if room is not None else None)

    def bans(self) -> dict[tuple[UserId, RoomId | None], Order]:
        return dict(self._bans)

    def forget(self, *, replaced: bool) -> None:
        """All of the bucket is to be taken anew. `replaced`: it is another one, of which nothing was carried out."""
        self._bans.clear()
        self.position = 0
        if replaced:
            self._carried_out = 0
            self.newest = 0, NEVER

    def take(self, changes: Iterable[Change], up_to: int, *, shorter: bool = False) -> list[Target]:
        """All changes behind the position up to a sequence, in order. What is to be carried out because of them.

        `shorter`: the bucket has lost changes that were known. New ones have their sequences; they are told from what
        was carried out by the time of their commit.
        """
        due = [target for change in changes if (target := self._take(change)) is not None]
        self.position = up_to
        self._carried_out = up_to if shorter else max(self._carried_out, up_to)
        if shorter:
            self.newest = min(self.newest[0], up_to), self.newest[1]
        return due

    def is_rewritten(self, change: Change) -> bool:
        """The change has a sequence that another one had."""
        return change.sequence <= self.position and change.committed > self.newest[1]

    def _take(self, change: Change) -> Target | None:
        target = change.target
        if target.kind is Kind.BAN:
            self._bans.pop((target.user, target.room), None)
            if change.order is not None:
                self._bans[target.user, target.room] = change.order
        known, latest = self.newest
        self.newest = max(known, change.sequence), max(latest, change.committed)
        if change.order is None or (change.sequence <= self._carried_out and change.committed <= latest):
            return None
        return target
