"""The rights of a user to the shared documents of rooms. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from studyroom.shared.contract.ids import RoomId

ALL_ROOMS = "*"


class DocumentRight(StrEnum):
    NONE = "none"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class DocumentRights:
    others: DocumentRight = DocumentRight.WRITE
    """For rooms that are not named."""
    by_room: Mapping[RoomId, DocumentRight] = field(default_factory=dict)

    def of(self, room: RoomId) -> DocumentRight:
        return self.by_room.get(room, self.others)


ALL_DOCUMENTS = DocumentRights()
"""The rights of guests, and of users whose token does not say."""
