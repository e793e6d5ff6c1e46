"""The orders of moderators as this gateway knows them. Pure: changes in, what is to be carried out is returned."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.moderation import Command, Kind, Target

_ENDED_KEPT = 1000
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the bucket. Without an order: what was ordered before holds no more."""

    sequence: int
    target: Target
    command: Command | None
    committed: datetime = NEVER
    seconds: int | None = None
    """For so long NATS keeps it after its commit; None for ever."""

    def has_ended(self, now: datetime) -> bool:
        return self.seconds is not None and now - self.committed >= timedelta(seconds=self.seconds)


@dataclass(slots=True)
class Commands:
    position: int = 0
    """Every change up to this sequence of the bucket is known."""
    _bans: dict[tuple[UserId, RoomId | None], Change] = field(default_factory=dict)
    """Also some that have ended: NATS removes them without a word."""
    _looked_through_at: int = _ENDED_KEPT
    """With more bans than this those that have ended are forgotten."""
    _carried_out: int = 0
    """Orders up to this sequence were carried out here. It does not go back when the bucket is read again."""
    newest: tuple[int, datetime] = (0, NEVER)
    """Sequence of the newest change that is known, and the latest commit of all that are."""

    def ban_of(self, user: UserId, room: RoomId | None = None, *, now: datetime) -> Command | None:
        """From the room, or from everything. `now`: by NATS's clock, as the times of commits are."""
        return self._holding(user, None, now) or (self._holding(user, room, now) if room is not None else None)

    def bans(self, *, now: datetime) -> dict[tuple[UserId, RoomId | None], Command]:
        self._forget_ended(now)
        return {key: ban.command for key, ban in self._bans.items() if ban.command is not None}

    def _forget_ended(self, now: datetime) -> None:
        self._bans = {key: ban for key, ban in self._bans.items() if not ban.has_ended(now)}
        self._looked_through_at = 2 * len(self._bans) + _ENDED_KEPT

    def _holding(self, user: UserId, room: RoomId | None, now: datetime) -> Command | None:
        ban = self._bans.get((user, room))
        return None if ban is None or ban.has_ended(now) else ban.command

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
            if change.command is not None:
                self._bans[target.user, target.room] = change
                if len(self._bans) > self._looked_through_at:
                    self._forget_ended(change.committed)
        known, latest = self.newest
        self.newest = max(known, change.sequence), max(latest, change.committed)
        if change.command is None or (change.sequence <= self._carried_out and change.committed <= latest):
            return None
        return target
