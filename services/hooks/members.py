"""The members of all rooms of a group of shards, as far as events were made of them. Pure.

Events are the differences between what is stored and this state. So a change that is read twice makes no second event,
and if changes are missing, the events still lead from one state to the next.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from studyroom.services.hooks.events import EventType
from studyroom.shared.contract.ids import RoomId, UserId

Member = tuple[RoomId, UserId]


@dataclass(frozen=True, slots=True)
class Change:
    type: EventType
    room: RoomId
    user: UserId | None = None
    """None for an event about the room."""
    username: str = ""

    @property
    def data(self) -> dict[str, str]:
        return {} if self.user is None else {"user_id": self.user, "username": self.username}


@dataclass(slots=True)
class Members:
    _rooms: dict[RoomId, dict[UserId, str]] = field(default_factory=dict)
    """The name of each member."""
    unsaved: dict[Member, str | None] = field(default_factory=dict)
    """Members whose name has to be saved; None for those that are gone."""

    def load(self, members: Mapping[Member, str]) -> None:
        """Begin with these members, which are saved."""
        for (room, user), name in members.items():
            self._rooms.setdefault(room, {})[user] = name

    def __contains__(self, member: Member) -> bool:
        room, user = member
        return user in self._rooms.get(room, {})

    def all(self) -> Iterator[Member]:
        return ((room, user) for room, users in self._rooms.items() for user in users)

    def present(self, room: RoomId) -> list[Change]:
        """Return the events with which the present members of a room would have come."""
        joined = [Change(EventType.MEMBER_JOINED, room, user, name) for user, name in self._rooms.get(room, {}).items()]
        return [*joined[:1], Change(EventType.ROOM_OCCUPIED, room), *joined[1:]] if joined else []

    def put(self, room: RoomId, user: UserId, name: str) -> list[Change]:
        """Take in that a user is a member with this name. Return the events that it makes."""
        users = self._rooms.setdefault(room, {})
        before, users[user] = users.get(user), name
        if before != name:
            self.unsaved[room, user] = name
        if before is not None:
            return []
        joined = [Change(EventType.MEMBER_JOINED, room, user, name)]
        return [*joined, Change(EventType.ROOM_OCCUPIED, room)] if len(users) == 1 else joined

    def remove(self, room: RoomId, user: UserId) -> list[Change]:
        """Take in that a user is not a member. Return the events that it makes."""
        users = self._rooms.get(room, {})
        name = users.pop(user, None)
        if name is None:
            return []
        self.unsaved[room, user] = None
        left = [Change(EventType.MEMBER_LEFT, room, user, name)]
        if users:
            return left
        del self._rooms[room]
        return [*left, Change(EventType.ROOM_EMPTY, room)]

    def forget(self, room: RoomId, user: UserId) -> list[Change]:
        """Take in that a user is not a member and must not be named any more. Return the events that it makes."""
        self.unsaved[room, user] = None
        return [change for change in self.remove(room, user) if change.user is None]
