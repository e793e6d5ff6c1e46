"""What connections ask of the gateway."""

from typing import TYPE_CHECKING, Protocol

from studyroom.gateway.auth.identity import Authenticator
from studyroom.gateway.connections.limits import Limits
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.shared.contract.ids import MessageId
from studyroom.shared.contract.messages import JoinRoomPayload

if TYPE_CHECKING:
    from studyroom.gateway.connections.connection import Connection
    from studyroom.gateway.rooms.room import Room


class Hub(Protocol):
    metrics: GatewayMetrics
    limits: Limits
    authenticator: Authenticator

    @property
    def beat(self) -> int:
        """Counts up with every heartbeat sweep: a clock that costs nothing to read."""

    def register(self, connection: "Connection") -> None: ...
    def unregister(self, connection: "Connection") -> None: ...
    @property
    def chat_retry_seconds(self) -> int:
        """For so long a chat message that is sent again is recognised."""

    def more_unread(self, size: int) -> None:
        """So many bytes were written to a client that reads too slowly."""

    def join(self, connection: "Connection", join: JoinRoomPayload) -> None: ...
    def leave(self, connection: "Connection", room: "Room", *, lost: bool, at_once: bool = True) -> None:
        """Not `at_once`: it still gets what it has said there itself, and all before it."""

    def chat(self, connection: "Connection", room: "Room", content: str, message: MessageId) -> None: ...
