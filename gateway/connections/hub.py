"""The parts of the gateway that all its connections share. Those from packages above are protocols.

The protocols are generic in the connection, so that this module does not import it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from studyroom.gateway.auth.identity import NO_EXPIRY, Authenticator
from studyroom.gateway.connections.limits import Limits, StatedLimits
from studyroom.gateway.connections.registry import Client, Registry
from studyroom.gateway.connections.replies import welcome_frame
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.room import Room
from studyroom.shared.contract.chat_messages import ChangeOfChat, ChatSendPayload
from studyroom.shared.contract.custom_presence import FieldsChange
from studyroom.shared.contract.ids import ConnectionId, UserId
from studyroom.shared.contract.messages import JoinRoomPayload

_Client_contra = TypeVar("_Client_contra", contravariant=True)


class Pulse(Protocol):
    beat: int
    """Counts the sweeps of the heartbeat: a clock that costs nothing to read."""

    def more_unread(self, size: int) -> None:
        """Count bytes that were written to a slow consumer."""


class Joins(Protocol[_Client_contra]):
    def begin(self, connection: _Client_contra, join: JoinRoomPayload) -> None:
        """Begin a join, which ends with the connection's `joined` or `join_failed`."""


class Leaves(Protocol[_Client_contra]):
    def leave(self, connection: _Client_contra, room: Room, *, lost: bool, at_once: bool = True) -> None:
        """`lost`: the user stays a member for the grace period. `at_once`: False if the connection should first get its
        own chat messages that are in flight, and all messages before them."""


class Authors(Protocol[_Client_contra]):
    def publish(self, connection: _Client_contra, room: Room, chat: ChatSendPayload) -> None:
        """Publish a chat message. The connection gets the outcome."""


class Changes(Protocol[_Client_contra]):
    def change(self, connection: _Client_contra, room: Room, request: ChangeOfChat) -> None:
        """Edit, delete or react to a chat message of the room. The connection gets the outcome."""


class Updates(Protocol[_Client_contra]):
    def update(self, connection: _Client_contra, room: Room, change: FieldsChange) -> None:
        """Change fields of the custom presence of the connection's user. Members get the change when it is stored."""


class Profiles(Protocol[_Client_contra]):
    def restore(self, connection: _Client_contra) -> object:
        """Let presence write the member again, with its present name and avatar."""


class Retries(Protocol):
    @property
    def retry_seconds(self) -> int:
        """Retries of a chat message with the same id are deduplicated for so long."""


@dataclass(frozen=True, slots=True)
class Hub(Generic[Client]):
    limits: Limits
    stated_limits: StatedLimits
    room_hints: bool
    """Whether the load balancer follows the room in the address, so that `Welcome` says so."""
    metrics: GatewayMetrics
    authenticator: Authenticator
    connections: Registry[Client]
    pulse: Pulse
    joins: Joins[Client]
    leaves: Leaves[Client]
    authors: Authors[Client]
    changes: Changes[Client]
    updates: Updates[Client]
    profiles: Profiles[Client]
    retries: Retries
    broadcast_max_bytes: Callable[[], int]
    """Returns the largest data of a broadcast event that this gateway takes now."""

    def welcome(
        self,
        connection: ConnectionId,
        user: UserId,
        guest_token: str | None,
        expires_at: int,
        *,
        channels: int | None = None,
    ) -> bytes:
        """The first frame of a connection.

        `expires_at`: of its token, in Unix seconds. `channels`: how many channels it may have; None without channels. A
        connection with channels has no home, because each of its rooms may have another one.
        """
        return welcome_frame(
            connection,
            user,
            guest_token=guest_token,
            chat_retry_seconds=self.retries.retry_seconds,
            expires_at=expires_at if expires_at < NO_EXPIRY else None,
            room_hints=self.room_hints and channels is None,
            limits=self.stated_limits,
            channels=channels or None,
        )
