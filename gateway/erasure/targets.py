"""The users and rooms that are erased, and up to when. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from studyroom.shared.contract.audit import Action, AuditRecord
from studyroom.shared.contract.ids import RoomId, canonical_uuid

Until = datetime | None
"""Messages that were stored after this time stay. None for all."""


@dataclass(slots=True)
class Targets:
    users: dict[str, Until] = field(default_factory=dict)
    """The keys are fingerprints."""
    rooms: dict[RoomId, Until] = field(default_factory=dict)
    chats: dict[RoomId, datetime] = field(default_factory=dict)
    """Rooms whose old messages were erased."""


def targets_of(records: Iterable[tuple[AuditRecord, datetime]]) -> Targets:
    """Return what was erased, each up to its newest record. `records`: in the order of their times."""
    found = Targets()
    for record, at in records:
        if record.action is Action.ERASE_USER:
            found.users[record.target] = at
        elif record.action is Action.ERASE_ROOM:
            found.rooms[RoomId(canonical_uuid(record.target))] = at
        elif record.action is Action.ERASE_OLD_MESSAGES and record.before is not None:
            room, before = RoomId(canonical_uuid(record.target)), datetime.fromtimestamp(record.before, UTC)
            found.chats[room] = max(before, found.chats.get(room, before))
    return found
