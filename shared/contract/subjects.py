"""All NATS subjects and names of streams, but for those in modules named `*_subjects`.

`<shard>` is crc32(room id) modulo 64, which never changes. `groups` has the rest.
"""

from collections.abc import Callable, Collection
from zlib import crc32

from studyroom.shared.contract.audit_subjects import AUDIT_STREAM
from studyroom.shared.contract.ids import ID_LENGTH, GatewayId, RoomId, UserId
from studyroom.shared.contract.retention_subjects import RETENTION_STREAM

SHARDS = 64

CHAT_STREAM = "CHAT"
DOCUMENTS_STREAM = "DOCUMENTS"
PRESENCE_BUCKET = "presence"
GATEWAYS_BUCKET = "gateways"
MODERATION_BUCKET = "moderation"
PRESENCE_STREAM = f"KV_{PRESENCE_BUCKET}"
GATEWAYS_STREAM = f"KV_{GATEWAYS_BUCKET}"
MODERATION_STREAM = f"KV_{MODERATION_BUCKET}"

GROUPS_MAX = 16
"""The most groups of shards. `accounts.conf` lists all names, since NATS permissions have no wildcards within one."""


def chat_stream(group: int, groups: int) -> str:
    """The stream with the chat of one group of shards. If there is only one group, it has the chat of all rooms."""
    return CHAT_STREAM if groups == 1 else f"{CHAT_STREAM}_{group}"


def presence_stream(group: int, groups: int) -> str:
    """The stream of the bucket with the members of one group of shards, or of all rooms."""
    return PRESENCE_STREAM if groups == 1 else f"{PRESENCE_STREAM}_{group}"


def documents_stream(group: int, groups: int) -> str:
    """The stream with the shared documents of one group of shards, or of all rooms."""
    return DOCUMENTS_STREAM if groups == 1 else f"{DOCUMENTS_STREAM}_{group}"


def chat_streams(groups: int) -> tuple[str, ...]:
    return tuple(chat_stream(group, groups) for group in range(groups))


def documents_streams(groups: int) -> tuple[str, ...]:
    return tuple(documents_stream(group, groups) for group in range(groups))


def presence_streams(groups: int) -> tuple[str, ...]:
    return tuple(presence_stream(group, groups) for group in range(groups))


def streams_of_record(groups: int) -> tuple[str, ...]:
    """The streams that nothing else can make again. Gateways restore members and leases by themselves."""
    alone = (MODERATION_STREAM, AUDIT_STREAM, RETENTION_STREAM)
    return (*chat_streams(groups), *documents_streams(groups), *alone)


def streams(groups: int) -> tuple[str, ...]:
    """All streams of a system with so many groups of shards, without those of hooks."""
    buckets = (*presence_streams(groups), GATEWAYS_STREAM, MODERATION_STREAM, RETENTION_STREAM)
    return (*buckets, *chat_streams(groups), *documents_streams(groups), AUDIT_STREAM)


STREAMS = streams(1)
"""The streams of a system that does not divide its shards into groups."""
CHAT_STREAMS = frozenset((CHAT_STREAM, *chat_streams(GROUPS_MAX)))
PRESENCE_STREAMS = frozenset((PRESENCE_STREAM, *presence_streams(GROUPS_MAX)))
DOCUMENTS_STREAMS = frozenset((DOCUMENTS_STREAM, *documents_streams(GROUPS_MAX)))
ALL_STREAMS = frozenset((*STREAMS, *CHAT_STREAMS, *PRESENCE_STREAMS, *DOCUMENTS_STREAMS))
"""The names of the streams of all systems, with any number of groups."""

PRESENCE_QUEUE = "presence"
"""The queue group of presence replicas: NATS delivers each request to one of them."""
DOCUMENTS_QUEUE = "documents"
"""The queue group of replicas of the documents service."""


def shard_of(room: RoomId) -> int:
    return crc32(room.encode("ascii")) % SHARDS


# --- requests to presence ----------------------------------------------------------------------------------


def of_shards(subject: Callable[[int], str], shards: Collection[int]) -> list[str]:
    """Return one subject per shard, or a single wildcard if `shards` has all of them."""
    if len(shards) == SHARDS:
        return [subject(0).replace(".0.", ".*.")]
    return [subject(shard) for shard in sorted(shards)]


def presence_join(shard: int) -> str:
    return f"presence.{shard}.join"


def presence_leave(shard: int) -> str:
    return f"presence.{shard}.leave"


def presence_roster(shard: int) -> str:
    return f"presence.{shard}.roster"


def presence_complete(shard: int) -> str:
    return f"presence.{shard}.complete"


def presence_compare(shard: int) -> str:
    return f"presence.{shard}.compare"


def presence_update(shard: int) -> str:
    return f"presence.{shard}.update"


def presence_rooms(shard: int) -> str:
    return f"presence.{shard}.rooms"


def presence_cursors(shard: int) -> str:
    """Gateways publish the newest cursors here for presence, once a second."""
    return f"presence.{shard}.cursors"


CURSOR_RECALL = "presence.recall"
"""A replica asks all gateways for the last cursors of their members here."""

GATEWAY_LOADS = "gateways.load"
"""Gateways publish the number of their connections here for each other."""


def gateway_uplink(gateway: GatewayId) -> str:
    """Other gateways publish messages here of clients whose connection without a WebSocket is at this gateway."""
    return f"gateways.{gateway}.uplink"


def gateway_uplinked(gateway: GatewayId) -> str:
    """Other gateways answer here to what this gateway has published at their `gateway_uplink`."""
    return f"gateways.{gateway}.uplinked"


# --- the state ---------------------------------------------------------------------------------------------

PRESENCE_KEYS = f"$KV.{PRESENCE_BUCKET}.>"
PRESENCE_INCARNATION = f"$KV.{PRESENCE_BUCKET}.incarnation"
"""The key of the record that distinguishes presence streams with the same creation time (`incarnation`)."""
GATEWAY_KEYS = f"$KV.{GATEWAYS_BUCKET}.>"
LEASE_KEYS = f"$KV.{GATEWAYS_BUCKET}.*"
MODERATION_KEYS = f"$KV.{MODERATION_BUCKET}.>"
CHAT_SUBJECTS = "chat.*.*"
CHAT_INCARNATION = f"$KV.{MODERATION_BUCKET}.incarnation.chat"
"""The key of the record that distinguishes chat streams with the same creation time. Gateways may write this bucket."""


def presence_incarnation(group: int, groups: int) -> str:
    """The key of the record about the presence stream of one group of shards. It is in that stream."""
    return PRESENCE_INCARNATION if groups == 1 else f"{PRESENCE_INCARNATION}.{group}"


def chat_incarnation(group: int, groups: int) -> str:
    """The key of the record about the chat stream of one group of shards."""
    return CHAT_INCARNATION if groups == 1 else f"{CHAT_INCARNATION}.{group}"


def chat_incarnation_event(key: str) -> str:
    """The subject on which JetStream republishes a record about a chat stream."""
    return key.removeprefix("$KV.")


def is_chat_incarnation(subject: str) -> bool:
    """Whether this is the key or the event of a record about a chat stream."""
    return subject.removeprefix("$KV.").startswith(f"{MODERATION_BUCKET}.incarnation.chat")


def presence_key(room: RoomId, user: UserId) -> str:
    return f"$KV.{PRESENCE_BUCKET}.{shard_of(room)}.{room}.{user}"


def presence_keys_of_shard(shard: int) -> str:
    return f"$KV.{PRESENCE_BUCKET}.{shard}.>"


def chat_of_shard(shard: int) -> str:
    return f"chat.{shard}.*"


def parse_presence_key(subject: str) -> tuple[RoomId, UserId]:
    """Return room and user of a presence key. Raises ValueError for any other subject."""
    match subject.split("."):
        case ["$KV", bucket, _shard, room, user] if bucket == PRESENCE_BUCKET:
            return RoomId(room), UserId(user)
        case _:
            raise ValueError(f"not a presence key: {subject!r}")


def parse_gateway_key(subject: str) -> GatewayId:
    """Return the gateway of a lease. Raises ValueError for any other subject."""
    match subject.split("."):
        case ["$KV", bucket, gateway] if bucket == GATEWAYS_BUCKET:
            return GatewayId(gateway)
        case _:
            raise ValueError(f"not a gateway key: {subject!r}")


def gateway_key(gateway: GatewayId) -> str:
    return f"$KV.{GATEWAYS_BUCKET}.{gateway}"


def lease_proof_key(replica: str) -> str:
    """A presence replica writes this key to see whether NATS accepts writes. Gateways may not write it."""
    return f"$KV.{GATEWAYS_BUCKET}.presence.{replica}"


def moderation_key(kind: str, user: UserId, room: RoomId | None) -> str:
    key = f"$KV.{MODERATION_BUCKET}.{kind}.{user}"
    return key if room is None else f"{key}.{room}"


def parse_moderation(subject: str) -> tuple[str, UserId, RoomId | None]:
    """Return kind, user and room of a moderation key or of its event. Raises ValueError for any other subject."""
    match subject.removeprefix("$KV.").split("."):
        case [bucket, kind, user] if bucket == MODERATION_BUCKET:
            return kind, UserId(user), None
        case [bucket, kind, user, room] if bucket == MODERATION_BUCKET:
            return kind, UserId(user), RoomId(room)
        case _:
            raise ValueError(f"not a moderation key: {subject!r}")


def chat(room: RoomId) -> str:
    return f"chat.{shard_of(room)}.{room}"


def chat_deduplication_id(room: RoomId, user: UserId, message: str) -> str:
    """Return the deduplication id. It has the room, because JetStream compares ids without regard to the subject."""
    return f"{room}:{user}:{message}"


def change_deduplication_id(room: RoomId, user: UserId, change: str) -> str:
    """Return the deduplication id of an edit or a reaction."""
    return f"{room}:{user}:change:{change}"


def deletion_deduplication_id(room: RoomId, sequence: int) -> str:
    return f"{room}:deleted:{sequence}"


# --- subscriptions of gateways -----------------------------------------------------------------------------

MODERATION_EVENTS = f"{MODERATION_BUCKET}.>"
"""The commands of moderators, which JetStream republishes after their commit."""
PRESENCE_REPUBLISH_SOURCE = f"$KV.{PRESENCE_BUCKET}.*.*.*"
PRESENCE_REPUBLISH_TARGET = "room.{{wildcard(1)}}.{{wildcard(2)}}.presence.{{wildcard(3)}}"
CHAT_REPUBLISH_TARGET = "room.{{wildcard(1)}}.{{wildcard(2)}}.chat"


def room_events(room: RoomId) -> str:
    """The only subscription that a gateway has for a room."""
    return f"room.{shard_of(room)}.{room}.>"


def room_cursor(room: RoomId) -> str:
    return f"room.{shard_of(room)}.{room}.cursor"


def room_typing(room: RoomId) -> str:
    return f"room.{shard_of(room)}.{room}.typing"


def room_broadcast(room: RoomId) -> str:
    return f"room.{shard_of(room)}.{room}.broadcast"


def room_newest(room: RoomId) -> str:
    """Gateways announce the sequence of the room's newest message here, in decimal, for gateways that have lost it."""
    return f"room.{shard_of(room)}.{room}.newest"


def room_event_kind(subject: str) -> str:
    """Return the token after the room in a room event's subject, such as `presence`, `chat` or `cursor`."""
    return subject.split(".", 4)[3]


def room_event_user(subject: str) -> UserId:
    """Return the user in the subject of a `presence` room event."""
    return UserId(subject[-ID_LENGTH:])
