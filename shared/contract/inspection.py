"""The questions of `studyroom room` and `studyroom user`, and the answers of gateways and presence.

Every gateway and every presence replica answers each question with one message. The length of an answer is bounded: an
answer about a room has a digest of its members, and the members themselves only if the question asks for a part of
them.
"""

from collections.abc import Iterable
from zlib import crc32

from pydantic import Field

from studyroom.shared.contract.ids import (
    ConnectionId,
    GatewayId,
    MembershipId,
    RoomId,
    RoomIdField,
    UserId,
    UserIdField,
)
from studyroom.shared.contract.parts import JsonMessage
from studyroom.shared.contract.presence import member_digest

MEMBERS_PER_PART = 50
"""How many members of a room a part has on average, so that an answer fits into the shortest `max_payload`."""
CONNECTIONS_MAX = 30
"""The most connections of a user in one answer."""
ROOMS_MAX = 200
"""The most rooms of a user in one answer."""
PROBLEMS_MAX = 5
"""The most logged problems in one answer."""


class Question(JsonMessage):
    """Asks about a room or a user. Exactly one of them is set."""

    room: RoomIdField | None = None
    user: UserIdField | None = None
    parts: int = Field(0, ge=0)
    """Into how many parts the members of the room are divided; 0 if the answer must have none of them."""
    part: int = Field(0, ge=0)

    def asks_for(self, user: UserId) -> bool:
        """Return whether the answer must have this member of the room."""
        return self.parts > 0 and crc32(user.encode()) % self.parts == self.part


class LoggedProblem(JsonMessage):
    """A warning or an error in the log of a process."""

    time: str
    """RFC 3339 in UTC."""
    level: str
    event: str
    fields: dict[str, str] = Field(default_factory=dict)


class Process(JsonMessage):
    """The process that answers."""

    host: str
    pid: int
    nats: str
    """Its connection to NATS: the id of the server, a slash, and the number of the connection there."""
    not_ready: list[str] = Field(default_factory=list)
    """Why it cannot serve now, as `/readyz` says; empty if it can."""
    problems: list[LoggedProblem] = Field(default_factory=list)
    """The newest problems that are about the room or the user, or about neither, newest first."""

    @property
    def place(self) -> str:
        """Return the name of the process for people."""
        return f"{self.host}:{self.pid}"


class ChatState(JsonMessage):
    """The chat of a room at a gateway."""

    position: int | None
    """The stream sequence up to which members have the chat; None if the gateway does not know yet."""
    epoch: str
    """The epoch that clients see."""
    waits: bool
    """Whether messages wait for older ones that are missing."""


class GatewayRoom(JsonMessage):
    """The state of a room at a gateway."""

    process: Process
    gateway: GatewayId
    hosted: bool = False
    epoch: str = ""
    """The epoch of the presence stream in which the roster was loaded; empty without a roster."""
    revision: int = 0
    """The sequence up to which the gateway has applied all changes."""
    digest: int = 0
    """The exclusive or of the `member_digest` of all members of the roster."""
    members: int = 0
    stale: bool = False
    """Whether changes may be missing since the roster was loaded, and the gateway is about to repair it."""
    chat: ChatState | None = None
    connections: int = 0
    """The connections of this gateway that are in the room."""
    connections_digest: int = 0
    """The `connections_digest` of those."""
    slow: int = 0
    """Those of them that read too slowly."""
    revisions: dict[UserId, int] | None = None
    """The revision of each member that the question asks for."""
    memberships: dict[MembershipId, UserId] | None = None
    """The memberships of those members here."""
    joining: list[MembershipId] = Field(default_factory=list)
    """The memberships of those members that are about to begin."""


class PresenceRoom(JsonMessage):
    """The state of a room at a presence replica."""

    process: Process
    serves: bool = True
    """Whether the replica serves the shard of the room."""
    ready: bool = False
    """Whether its mirror is complete."""
    epoch: str = ""
    applied: int = 0
    """The sequence up to which the mirror has all changes."""
    revision: int = 0
    """The sequence of the room's last change; 0 if the mirror has forgotten it."""
    digest: int = 0
    members: int = 0
    revisions: dict[UserId, int] | None = None
    """The revision of each member that the question asks for."""


class OpenConnection(JsonMessage):
    """A connection of a user at a gateway."""

    id: ConnectionId
    kind: str
    """`connection`, `channel`, or `documents` for the socket of an editor."""
    room: RoomId | None = None
    joining: RoomId | None = None
    membership: MembershipId | None = None
    """The membership in `room`."""
    open_seconds: int = 0
    silent_seconds: int = 0
    """How long ago the client sent anything, pongs too."""
    unread_bytes: int = 0
    """Bytes that the client has not read yet."""
    slow: bool = False
    held: bool = False
    """Whether the gateway does not read from the client for a while, because it sends too much."""
    closing: bool = False
    expires_at: int | None = None
    """When the token expires, in Unix seconds."""


class GatewayUser(JsonMessage):
    """The state of a user at a gateway."""

    process: Process
    gateway: GatewayId
    connections: list[OpenConnection] = Field(default_factory=list)
    """At most `CONNECTIONS_MAX`."""
    connections_count: int = 0
    bans: list[RoomId | None] = Field(default_factory=list)
    """The rooms from which the gateway keeps the user out; None for the whole service."""


class PresenceUser(JsonMessage):
    """The state of a user at a presence replica."""

    process: Process
    shards: list[int] = Field(default_factory=list)
    """The shards that the replica serves with a mirror that is complete."""
    rooms: dict[RoomId, int] = Field(default_factory=dict)
    """The revision of the user in each room, at most `ROOMS_MAX`."""
    rooms_count: int = 0


def members_digest(revisions: Iterable[tuple[UserId, int]]) -> int:
    """Return the digest of a room with these members and their revisions."""
    digest = 0
    for user, revision in revisions:
        digest ^= member_digest(user, revision)
    return digest


def connections_digest(memberships: Iterable[MembershipId]) -> int:
    """Return 64 bits that depend on which memberships these are, and not on their order."""
    digest = 0
    for membership in memberships:
        digest ^= member_digest(UserId(membership), 0)
    return digest


def parts_for(members: int) -> int:
    """Return into how many parts a question divides a room with so many members or connections."""
    return 1 + members // MEMBERS_PER_PART
