"""Subjects with wildcards that find all that is stored of shared documents, and what is in the subjects found."""

from studyroom.shared.contract import subjects
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.ids import RoomId


def snapshots_of_room(room: RoomId) -> str:
    """Snapshots, versions and deletions of all documents of a room."""
    return f"snapshot.{subjects.shard_of(room)}.{room}.>"


def versions_of_shard(shard: int) -> str:
    """The versions of all documents of a shard, without their contents."""
    return f"snapshot.{shard}.*.*.version.*"


def parse_snapshot(subject: str) -> tuple[RoomId, DocumentName]:
    """Return room and name in the subject of a snapshot, a version or a deletion. Raises ValueError for any other."""
    match subject.split("."):
        case ["snapshot", _shard, room, name, *_]:
            return RoomId(room), DocumentName(name)
        case _:
            raise ValueError(f"not the subject of a snapshot: {subject!r}")
