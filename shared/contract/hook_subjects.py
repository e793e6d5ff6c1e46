"""The NATS subjects of hooks, and the names of their streams and bucket, which only systems with hooks have."""

from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.subjects import PRESENCE_BUCKET, shard_of

HOOKS_STREAM = "HOOKS"
MEMBER_LOG_STREAM = "MEMBER_LOG"
HOOKS_BUCKET = "hooks"
HOOKS_BUCKET_STREAM = f"KV_{HOOKS_BUCKET}"

HOOK_EVENTS = "hook.*.*"
HOOKS_KEYS = f"$KV.{HOOKS_BUCKET}.>"
HOOKS_ROOMS = f"$KV.{HOOKS_BUCKET}.room.*.*"
HOOKS_MEMBERS = f"$KV.{HOOKS_BUCKET}.member.*.*.*"
MEMBER_LOG = "member.*.*.*"
MEMBER_LOG_SOURCE = f"$KV.{PRESENCE_BUCKET}.*.*.*"
MEMBER_LOG_TARGET = "member.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}"


def hooks_stream(group: int, groups: int) -> str:
    """The stream with the events for backends of one group of shards, or of all rooms."""
    return HOOKS_STREAM if groups == 1 else f"{HOOKS_STREAM}_{group}"


def member_log_stream(group: int, groups: int) -> str:
    """The stream into which NATS copies every change of the members of one group of shards, or of all rooms."""
    return MEMBER_LOG_STREAM if groups == 1 else f"{MEMBER_LOG_STREAM}_{group}"


def streams_of_hooks(groups: int) -> tuple[str, ...]:
    """The streams that a system has in addition if it has hooks."""
    events = tuple(hooks_stream(group, groups) for group in range(groups))
    return (*events, *(member_log_stream(group, groups) for group in range(groups)), HOOKS_BUCKET_STREAM)


def hook_event(room: RoomId) -> str:
    """The events of a room for backends."""
    return f"hook.{shard_of(room)}.{room}"


def hooks_erase(group: int) -> str:
    """Gateways ask here to erase what is stored for hooks of one group of shards (`hook_requests`)."""
    return f"hooks.{group}.erase"


def member_log_of(room: RoomId) -> str:
    """The changes of all members of a room in the log of members."""
    return f"member.{shard_of(room)}.{room}.*"


def hook_events_of_shard(shard: int) -> str:
    return f"hook.{shard}.*"


def parse_hook_event(subject: str) -> RoomId:
    """Return the room of an event. Raises ValueError for any other subject."""
    match subject.split("."):
        case ["hook", _shard, room]:
            return RoomId(room)
        case _:
            raise ValueError(f"not an event of a hook: {subject!r}")


def parse_member_log(subject: str) -> tuple[RoomId, UserId]:
    """Return room and user of a change in the log of members. Raises ValueError for any other subject."""
    match subject.split("."):
        case ["member", _shard, room, user]:
            return RoomId(room), UserId(user)
        case _:
            raise ValueError(f"not in the log of members: {subject!r}")


def hooks_key(kind: str, group: str) -> str:
    """The key of the hooks service with this kind of state of a group of shards (`services.hooks.bucket`)."""
    return f"$KV.{HOOKS_BUCKET}.{kind}.{group}"


def hooks_room(group: str, room: RoomId) -> str:
    """The key with the position of a room whose events are late."""
    return f"$KV.{HOOKS_BUCKET}.room.{group}.{room}"


def parse_hooks_room(subject: str) -> tuple[str, RoomId]:
    """Return group and room of such a key. Raises ValueError for any other subject."""
    match subject.split("."):
        case ["$KV", bucket, "room", group, room] if bucket == HOOKS_BUCKET:
            return group, RoomId(room)
        case _:
            raise ValueError(f"not the position of a room: {subject!r}")


def hooks_member(room: RoomId, user: UserId) -> str:
    """The key that exists while the newest event about this member is that the member has joined."""
    return f"$KV.{HOOKS_BUCKET}.member.{shard_of(room)}.{room}.{user}"


def parse_hooks_member(subject: str) -> tuple[RoomId, UserId]:
    """Return room and user of such a key. Raises ValueError for any other subject."""
    match subject.split("."):
        case ["$KV", bucket, "member", _shard, room, user] if bucket == HOOKS_BUCKET:
            return RoomId(room), UserId(user)
        case _:
            raise ValueError(f"not the key of a member: {subject!r}")
