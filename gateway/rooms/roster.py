"""The roster of one hosted room, kept up to date by committed changes.

Pure: changes in, notices out. Every client in the room on this gateway knows exactly this roster, so there is a notice
if and only if it changes.
"""

from collections.abc import Iterable, Iterator, KeysView
from dataclasses import dataclass, field
from enum import Enum

from studyroom.shared.contract.custom_presence import Fields, FieldsChange, difference
from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.messages import UserPresence
from studyroom.shared.contract.presence import Member, Profile, member_digest

REMOVALS_KEPT = 1024
_NO_FIELDS: Fields = {}


class Change(Enum):
    JOINED = "joined"
    UPDATED = "updated"
    LEFT = "left"
    FIELDS = "fields"
    """Only the custom presence has changed."""


@dataclass(frozen=True, slots=True)
class Notice:
    change: Change
    user: UserId
    profile: Profile
    fields: Fields = field(default_factory=dict)
    """The custom presence after the change, or before a leave."""
    changed: FieldsChange = field(default_factory=dict)
    """The change of the custom presence, if nothing else has changed."""


_UNCONFIRMED = -1
"""The revision of a member from another epoch. It is older than any other."""


@dataclass(slots=True)
class _Member:
    profile: Profile
    fields: Fields
    revision: int


@dataclass(slots=True)
class Roster:
    """The members, each with the stream sequence (`revision`) of their last change.

    A change that is not newer than the last one of its user does nothing. For users who left, the roster remembers the
    revision of the removal for a while. For all other users, changes up to `_horizon` do nothing: they are older than a
    loaded roster, or than a removal that was forgotten.
    """

    epoch: str = ""
    digest: int = 0
    """A digest of the members and their revisions. Presence computes the same from the same state."""
    _members: dict[UserId, _Member] = field(default_factory=dict)
    _removals: dict[UserId, int] = field(default_factory=dict)
    _horizon: int = 0
    _loaded: int = 0

    def __contains__(self, user: UserId) -> bool:
        return user in self._members

    def __len__(self) -> int:
        return len(self._members)

    @property
    def members(self) -> KeysView[UserId]:
        """A live view of the users who are members."""
        return self._members.keys()

    def revisions(self) -> Iterator[tuple[UserId, int]]:
        """Yield each member with the revision of its last change; below 0 for one from a former epoch."""
        return ((user, known.revision) for user, known in self._members.items())

    def users(self) -> list[UserPresence]:
        return [
            UserPresence.model_construct(
                user_id=user, username=known.profile.username, avatar_url=known.profile.avatar_url, cursor=None
            )
            for user, known in self._members.items()
        ]

    def is_newest(self, user: UserId, revision: int) -> bool:
        """Whether this is the last change of its user, who is a member."""
        known = self._members.get(user)
        return known is not None and known.revision == revision

    def has_left(self, user: UserId, revision: int) -> bool:
        """Whether a user who is not a member has left after this revision, or at it."""
        return revision <= self._removals.get(user, self._horizon)

    def put(self, user: UserId, profile: Profile, revision: int, fields: Fields = _NO_FIELDS) -> Notice | None:
        return self._put(user, profile, fields, revision, self._horizon)

    def _put(self, user: UserId, profile: Profile, fields: Fields, revision: int, horizon: int) -> Notice | None:
        known = self._members.get(user)
        if known is None:
            if revision <= self._removals.get(user, horizon):
                return None
            self._removals.pop(user, None)
            self._members[user] = _Member(profile, fields, revision)
            self.digest ^= member_digest(user, revision)
            return Notice(Change.JOINED, user, profile, fields)
        if revision <= known.revision:
            return None
        renamed, changed = known.profile != profile, difference(known.fields, fields)
        self._forget_digest(user, known)
        self.digest ^= member_digest(user, revision)
        known.profile, known.fields, known.revision = profile, fields, revision
        if renamed:
            return Notice(Change.UPDATED, user, profile, fields)
        return Notice(Change.FIELDS, user, profile, fields, changed) if changed else None

    def remove(self, user: UserId, revision: int) -> Notice | None:
        known = self._members.get(user)
        if known is None:
            if revision > self._removals.get(user, self._horizon):
                self._remember_removal(user, revision)
            return None
        if revision <= known.revision:
            return None
        return self._leave(user, known, revision)

    @property
    def unconfirmed(self) -> bool:
        """There are members from a former epoch whom the present one has not confirmed."""
        return any(known.revision == _UNCONFIRMED for known in self._members.values())

    def load(self, epoch: str, revision: int, members: Iterable[Member], *, settled: bool = True) -> list[Notice]:
        """Make this the roster as of `revision`. Returns the notices for what that changes.

        Changes that are newer than `revision` stay. A roster that is older than the last one changes nothing. Another
        epoch voids all revisions, but not the members: its stream began empty, and gateways may not have restored all
        of them yet. They stay unconfirmed until they are restored, or until a `settled` roster is loaded.
        """
        if epoch == self.epoch and revision < self._loaded:
            return []
        if epoch != self.epoch:
            self._begin_epoch(epoch)
        notices = []
        present = set()
        # A roster includes all removals up to its revision, even forgotten ones, unless it is older than the horizon.
        horizon = self._horizon if revision < self._horizon else 0
        for member in members:
            present.add(member.user)
            notices.append(self._put(member.user, member.profile, member.fields, member.revision, horizon))
        for user, known in list(self._members.items()):
            stays = known.revision > revision or (known.revision == _UNCONFIRMED and not settled)
            if user not in present and not stays:
                notices.append(self._leave(user, known, revision))
        self._loaded = revision
        self._horizon = max(self._horizon, revision)
        self._removals = {user: removal for user, removal in self._removals.items() if removal > revision}
        return [notice for notice in notices if notice is not None]

    def _begin_epoch(self, epoch: str) -> None:
        self.epoch = epoch
        self.digest = 0
        self._removals.clear()
        self._horizon = self._loaded = 0
        for known in self._members.values():
            known.revision = _UNCONFIRMED

    def _leave(self, user: UserId, known: _Member, revision: int) -> Notice:
        self._forget_digest(user, known)
        del self._members[user]
        self._remember_removal(user, revision)
        return Notice(Change.LEFT, user, known.profile, known.fields)

    def _forget_digest(self, user: UserId, known: _Member) -> None:
        if known.revision != _UNCONFIRMED:
            self.digest ^= member_digest(user, known.revision)

    def _remember_removal(self, user: UserId, revision: int) -> None:
        self._removals.pop(user, None)
        self._removals[user] = revision
        if len(self._removals) > REMOVALS_KEPT:
            oldest = next(iter(self._removals))
            self._horizon = max(self._horizon, self._removals.pop(oldest))
