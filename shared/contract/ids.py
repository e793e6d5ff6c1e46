"""Identifiers. All are UUIDs, carried as their canonical text (36 lower-case characters)."""

import re
from typing import Annotated, NewType
from uuid import UUID, uuid4

from pydantic import AfterValidator, WithJsonSchema

ID_LENGTH = 36
"""Characters in every id, so that wire formats may use fixed-width fields."""


_HYPHENATED = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SPELLING = re.compile(
    rf"{_HYPHENATED}|[0-9a-f]{{32}}|\{{{_HYPHENATED}\}}|urn:uuid:{_HYPHENATED}", re.IGNORECASE | re.ASCII
)


def canonical_uuid(text: str) -> str:
    """The canonical form of any spelling of a UUID that RFC 9562 readers accept (hyphens, braces, URN, case).

    Raises ValueError, naming the value, when it is not a UUID.
    """
    if _SPELLING.fullmatch(text) is None:
        raise ValueError(f"not a UUID: {text[:64]!r}")
    return str(UUID(text.lower()))


_Canonical = (AfterValidator(canonical_uuid), WithJsonSchema({"type": "string", "format": "uuid"}))

RoomId = NewType("RoomId", str)
UserId = NewType("UserId", str)
ConnectionId = NewType("ConnectionId", str)
GatewayId = NewType("GatewayId", str)
MembershipId = NewType("MembershipId", str)
"""Of one stay of a connection in a room; another one each time it enters. What is said of an earlier stay, however late
it arrives, says nothing of the present one."""
MessageId = NewType("MessageId", str)

RoomIdField = Annotated[RoomId, *_Canonical]
UserIdField = Annotated[UserId, *_Canonical]
ConnectionIdField = Annotated[ConnectionId, *_Canonical]
MessageIdField = Annotated[MessageId, *_Canonical]


def new_connection_id() -> ConnectionId:
    return ConnectionId(str(uuid4()))


def new_membership_id(connection: ConnectionId, number: int) -> MembershipId:
    """`number`: of the connection's stays."""
    return MembershipId(f"{connection}:{number}")


def connection_of(membership_id: MembershipId) -> ConnectionId:
    return ConnectionId(membership_id[:ID_LENGTH])


def new_gateway_id() -> GatewayId:
    """A gateway's name is new at every start, so that a restarted gateway never inherits a dead one's members."""
    return GatewayId(str(uuid4()))


def new_message_id() -> MessageId:
    return MessageId(str(uuid4()))


def new_user_id() -> UserId:
    return UserId(str(uuid4()))
