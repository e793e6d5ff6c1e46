"""The bans and commands that this gateway knows. Pure: changes in, targets of commands to carry out out."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.moderation import Command, Kind, Target

_ENDED_BANS_KEPT = 1000
NEVER = datetime.min.replace(tzinfo=UTC)
"""The time before every other."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the bucket. `command`: None if the earlier command was lifted."""

    sequence: int
    target: Target
    command: Command | None
    committed: datetime = NEVER
    seconds: int | None = None
    """How long NATS keeps it after the commit; None for ever."""

    def has_ended(self, now: datetime) -> bool:
        return self.seconds is not None and now - self.committed >= timedelta(seconds=self.seconds)


@dataclass(slots=True)
class Commands:
    position: int = 0
    """All changes up to this sequence of the bucket are known."""
    _bans: dict[tuple[UserId, RoomId | None], Change] = field(default_factory=dict)
    """Some of these may have ended, because NATS removes expired keys without a message."""
    _sweep_at: int = _ENDED_BANS_KEPT
    """With more bans than this, forget those that have ended."""
    _carried_out: int = 0
    """Commands up to this sequence were carried out here. It does not go back when the bucket is read again."""
    newest: tuple[int, datetime] = (0, NEVER)
    """The sequence of the newest known change, and the latest commit time of all known changes."""

    @property
    def has_bans(self) -> bool:
        """Whether there are any bans, some of which may have ended."""
        return bool(self._bans)

    def ban_of(self, user: UserId, room: RoomId | None = None, *, now: datetime) -> Command | None:
        """The ban from the whole service, or from the room; None if there is none. `now`: by the clock of NATS."""
        return self._active(user, None, now) or (self._active(user, room, now) if room is not None else None)

    def bans(self, *, now: datetime) -> dict[tuple[UserId, RoomId | None], Command]:
        self._forget_ended(now)
        return {key: ban.command for key, ban in self._bans.items() if ban.command is not None}

    def _forget_ended(self, now: datetime) -> None:
        self._bans = {key: ban for key, ban in self._bans.items() if not ban.has_ended(now)}
        self._sweep_at = 2 * len(self._bans) + _ENDED_BANS_KEPT

    def _active(self, user: UserId, room: RoomId | None, now: datetime) -> Command | None:
        ban = self._bans.get((user, room))
        return None if ban is None or ban.has_ended(now) else ban.command

    def forget(self, *, replaced: bool) -> None:
        """Forget all changes before the whole bucket is read again. `replaced`: it is another bucket, of which no
        command was carried out."""
        self._bans.clear()
        self.position = 0
        if replaced:
            self._carried_out = 0
            self.newest = 0, NEVER

    def take(self, changes: Iterable[Change], up_to: int, *, shorter: bool = False) -> list[Target]:
        """Take all changes after the position up to a sequence, in order. Returns the targets of new commands.

        `shorter`: the bucket has lost known changes, and new ones have their sequences. Then commit times show which
        commands are new.
        """
        targets = [target for change in changes if (target := self._take(change)) is not None]
        self.position = up_to
        self._carried_out = up_to if shorter else max(self._carried_out, up_to)
        if shorter:
            self.newest = min(self.newest[0], up_to), self.newest[1]
        return targets

    def is_rewritten(self, change: Change) -> bool:
        """Whether an earlier change had the sequence of this one, so that the bucket has lost that change."""
        return change.sequence <= self.position and change.committed > self.newest[1]

    def _take(self, change: Change) -> Target | None:
        target = change.target
        if target.kind is Kind.BAN:
            self._bans.pop((target.user, target.room), None)
            if change.command is not None:
                self._bans[target.user, target.room] = change
                if len(self._bans) > self._sweep_at:
                    self._forget_ended(change.committed)
        known, latest = self.newest
        self.newest = max(known, change.sequence), max(latest, change.committed)
        if change.command is None or (change.sequence <= self._carried_out and change.committed <= latest):
            return None
        return target
