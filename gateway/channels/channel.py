"""A channel: a connection of the gateway without a socket of its own."""

from typing import Protocol

from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.hub import Hub
from studyroom.gateway.connections.limits import Allowances
from studyroom.gateway.connections.session import InRoom, State
from studyroom.gateway.rooms.room import Room
from studyroom.shared.contract.close_codes import CloseCode
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.messages import ClientMessage, JoinRoom, LeaveRoom


class Carrier(Protocol):
    """The connection of a channel, as the channel sees it. Limits hold for the connection with all its channels."""

    address: bytes
    join_parts_left: float
    moves: bool

    @property
    def allowances(self) -> Allowances: ...
    def charge(self, messages: int) -> None: ...
    def close_slow(self, reason: str) -> None: ...
    def renew(self, identity: Identity) -> None:
        """Use the rights of a newer token in all channels."""

    def rename(self, username: str) -> None:
        """Show a guest under this name in all channels."""


class Channel(Connection):
    __slots__ = ("_carrier",)
    kind = "channel"

    def __init__(
        self, hub: Hub[Connection], identity: Identity, carrier: Carrier, *, hint: RoomId | None, chat_max_chars: int
    ) -> None:
        """`hint`: the room that the client is about to join."""
        super().__init__(hub, identity, address=carrier.address, hint=hint, chat_max_chars=chat_max_chars)
        self._carrier = carrier
        self._allowances = carrier.allowances
        self.moves = carrier.moves

    # --- limits -------------------------------------------------------------------------------------------

    def received(self, payload: bytes) -> None:
        """Take a message that is within the allowance of the connection."""
        if self._excess is not None:
            self._settle_excess(payload)
        super().received(payload)

    def received_too_much(self, payload: bytes) -> None:
        """Take a message beyond the allowance of the connection."""
        self._traffic.received += 1
        self._traffic.received_bytes += len(payload)
        self._refuse_excess(payload)

    def charge(self, messages: int) -> None:
        self._carrier.charge(messages)

    def _receive(self, message: ClientMessage) -> None:
        if isinstance(message, JoinRoom):
            self._session.join_parts_left = self._carrier.join_parts_left
            super()._receive(message)
            self._carrier.join_parts_left = self._session.join_parts_left
        else:
            super()._receive(message)

    # --- the heartbeat ------------------------------------------------------------------------------------

    def rests(self, _beat: int, _now: float) -> bool:
        return False

    def refill(self, beat: int, now: float) -> None:
        self.silent_beats = 0  # only the connection has a socket that can be silent
        super().refill(beat, now)

    def close_slow(self, reason: str) -> None:
        self._carrier.close_slow(reason)

    # --- the identity -------------------------------------------------------------------------------------

    def _welcome(self) -> bytes:
        return self._hub.welcome(self.id, self.user, self._guest_token, self.expires_at, channels=0)

    def _renew(self, identity: Identity) -> None:
        self._carrier.renew(identity)

    def take_over(self, identity: Identity) -> None:
        """Use the rights of a newer token, which came in any channel."""
        super()._renew(identity)

    def _take_name(self, username: str) -> None:
        self._carrier.rename(username)

    def take_name(self, username: str) -> None:
        """Show the guest under a name that came in any channel."""
        super()._take_name(username)

    def _resume(self, join: State[Room], waiting: list[ClientMessage]) -> None:
        room = self._session.state.room_id
        if isinstance(self._session.state, InRoom) and room is not None and not self._session.may_join(room):
            # A newer token came in another channel during the join.
            self._receive(LeaveRoom())
            self.close(CloseCode.TOKEN_EXPIRED, "the newer access token does not grant the room")
            return
        super()._resume(join, waiting)

    def _count_end(self, _code: int) -> None:
        self._metrics.channels.dec()
