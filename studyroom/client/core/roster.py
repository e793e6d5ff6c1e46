"""The other members of a room, and those of them that are typing. Every operation returns the change."""

from collections.abc import Iterable

from studyroom.client.values import Member, Presence
from studyroom.shared.contract.custom_presence import merged
from studyroom.shared.contract.messages import UserPresence


class Roster:
    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        """The members by user id, in the order of arrival."""
        self._typing: set[str] = set()

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(self._members.values())

    @property
    def typing(self) -> tuple[Member, ...]:
        """Members that are typing."""
        return tuple(member for user_id, member in self._members.items() if user_id in self._typing)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._members

    def load(self, users: Iterable[UserPresence]) -> tuple[list[Member], list[Member], list[Member]]:
        """Replace the roster. Members that stay keep their places. Return who came, changed and left."""
        users = list(users)
        present = {user.user_id for user in users}
        left = [member for member in self.members if member.user_id not in present]
        for member in left:
            self.remove(member.user_id)
        came, changed = list[Member](), list[Member]()
        for user in users:
            is_new = user.user_id not in self
            put = self.put(user)
            if put is not None:
                (came if is_new else changed).append(put)
        return came, changed, left

    def put(self, user: UserPresence) -> Member | None:
        """Add or update a member. Return it if it is new or differs."""
        member = member_of(user)
        if self._members.get(user.user_id) == member:
            return None
        self._members[user.user_id] = member
        return member

    def change_presence(self, user_id: str, change: Presence) -> Member | None:
        """Change fields of a member's presence. Return the member, or None for a stranger."""
        member = self._members.get(user_id)
        if member is None:
            return None
        self._members[user_id] = changed = with_presence(member, change)
        return changed

    def remove(self, user_id: str) -> Member | None:
        """Return the member, or None for a stranger."""
        self._typing.discard(user_id)
        return self._members.pop(user_id, None)

    def set_typing(self, user_id: str, *, is_typing: bool) -> bool:
        """Take a typing notice. Return whether it changes anything."""
        if is_typing == (user_id in self._typing):
            return False
        if is_typing:
            self._typing.add(user_id)
        else:
            self._typing.discard(user_id)
        return True

    def nobody_types(self) -> None:
        self._typing.clear()


def member_of(user: UserPresence) -> Member:
    return Member(user.user_id, user.username, user.avatar_url, user.presence or {})


def with_presence(member: Member, change: Presence) -> Member:
    return Member(member.user_id, member.username, member.avatar_url, merged(member.presence, change))
