"""The NATS subjects of the retention of rooms, and the names of its bucket and stream."""

from studyroom.shared.contract.ids import RoomId

RETENTION_BUCKET = "retention"
RETENTION_STREAM = f"KV_{RETENTION_BUCKET}"
RETENTION_KEYS = f"$KV.{RETENTION_BUCKET}.>"
RETENTION_ROOMS = f"$KV.{RETENTION_BUCKET}.room.*"
RETENTION_CLAIM = f"$KV.{RETENTION_BUCKET}.claim"
"""The key that exists for a while after a gateway has begun to apply the retention of all rooms."""


def retention_key(room: RoomId) -> str:
    return f"$KV.{RETENTION_BUCKET}.room.{room}"


def parse_retention_key(subject: str) -> RoomId:
    """Return the room of a key. Raises ValueError for any other subject."""
    match subject.split("."):
        case ["$KV", bucket, "room", room] if bucket == RETENTION_BUCKET:
            return RoomId(room)
        case _:
            raise ValueError(f"not the retention of a room: {subject!r}")
