"""The hints that clients send in the address (`/ws?room=`), by which a load balancer chooses the gateway. Pure.

The hint of a small room is its id. A large room is divided into parts, each with a hint of its own. The first part has
the id of the room, so clients that know only the room go there.
"""

import re
from dataclasses import dataclass
from uuid import UUID, uuid5
from zlib import crc32

from studyroom.shared.contract.ids import RoomId, UserId

_HINT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def parse_room_hint(text: str | None) -> RoomId | None:
    """Return the hint as load balancers read it; None if it is not valid."""
    hint = (text or "").lower()
    return RoomId(hint) if _HINT.fullmatch(hint) is not None else None


@dataclass(frozen=True, slots=True)
class Spread:
    """Decides into how many parts a room is divided. The number is a power of two, so half of the users keep their hint
    when it changes."""

    members_per_part: int
    """The most members of a part; 0 if no room is divided."""

    def parts(self, members: int, before: int = 1) -> int:
        """Return the number of parts of a room.

        `before`: how many it has had. Parts are halved only when the fewer ones are at most half full, so the number
        does not change with every member.
        """
        if not self.members_per_part:
            return 1
        parts = before
        while members > self.members_per_part * parts:
            parts *= 2
        while parts > 1 and 4 * members <= self.members_per_part * parts:
            parts //= 2
        return parts


def part_of(user: UserId, parts: int) -> int:
    return crc32(user.encode()) % parts


def hint_of_part(room: RoomId, part: int) -> RoomId:
    return RoomId(str(uuid5(UUID(room), str(part)))) if part else room


def room_hint(room: RoomId, user: UserId, parts: int) -> RoomId:
    """Return the hint that a user of the room should send."""
    return hint_of_part(room, part_of(user, parts))
