"""Who is banned, as those that let users in ask it."""

from typing import Protocol

from studyroom.shared.contract.ids import RoomId, UserId


class Bans(Protocol):
    def ban_of(self, user: UserId, room: RoomId | None = None) -> object:
        """The ban from the room, or from everything; None when there is none."""
