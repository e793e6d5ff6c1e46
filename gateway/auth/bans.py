"""Bans, as the packages that admit users look them up."""

from typing import Protocol

from studyroom.shared.contract.ids import RoomId, UserId


class Bans(Protocol):
    def ban_of(self, user: UserId, room: RoomId | None = None) -> object:
        """The user's ban from the room, or from the whole service if `room` is None. Returns None if there is none."""
