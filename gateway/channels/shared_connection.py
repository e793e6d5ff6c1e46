"""A connection with channels. It is channel 0 itself, and opens, serves and closes the others."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from studyroom.gateway.auth.identity import Identity
from studyroom.gateway.channels.channel import Channel
from studyroom.gateway.channels.channel_socket import ChannelSocket, LeadSocket, Line
from studyroom.gateway.connections.client_socket import Socket
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.hub import Hub
from studyroom.gateway.connections.limits import Allowances
from studyroom.gateway.wire.framing import text_frame
from studyroom.gateway.wire.handshake import Refused
from studyroom.shared.chassis import logs
from studyroom.shared.contract.channels import (
    ChannelClosed,
    ChannelClosedPayload,
    ChannelMessage,
    CloseChannel,
    InvalidChannelMessage,
    OpenChannel,
    OpenChannelPayload,
    decode_channel_message,
)
from studyroom.shared.contract.close_codes import CloseCode
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.messages import encode

log = logs.get(__name__)

_IN_THE_TYPE = b'hannel"'
"""The end of the types of all messages about channels."""
_MESSAGE_MAX_BYTES = 256
"""Messages about channels are shorter. Longer ones are of another type."""


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    channels: int
    """How many channels a connection may have at a time, besides channel 0."""
    problem: Callable[[Connection], Refused | None]
    """Why the connection may have no further channel now, apart from their number."""


class SharedConnection(Connection):
    __slots__ = ("_channel_limits", "_channels", "_chat_max_chars", "_identity", "_line", "_receives_in")

    def __init__(
        self,
        hub: Hub[Connection],
        identity: Identity,
        *,
        address: bytes,
        hint: RoomId | None,
        chat_max_chars: int,
        channel_limits: ChannelLimits,
    ) -> None:
        super().__init__(hub, identity, address=address, hint=hint, chat_max_chars=chat_max_chars)
        self._identity = identity
        self._chat_max_chars = chat_max_chars
        self._channel_limits = channel_limits
        self._channels: dict[int, Channel] = {}
        self._receives_in: int | None = 0
        """The channel to which the client's messages belong; None after a `Channel` message that is not valid."""
        self._line = Line(self._wrote)

    def opened(self, socket: Socket) -> None:
        self._line.socket = socket
        super().opened(LeadSocket(self._line))

    def closed(self, code: int) -> None:
        channels, self._channels = self._channels, {}
        for number, channel in channels.items():
            channel.keep_seconds = max(channel.keep_seconds, self.keep_seconds)
            self._end(channel, number, code)
        super().closed(code)

    def _welcome(self) -> bytes:
        most = self._channel_limits.channels
        return self._hub.welcome(self.id, self.user, self._guest_token, self.expires_at, channels=most)

    # --- limits, which hold for all channels together -----------------------------------------------------

    @property
    def allowances(self) -> Allowances:
        return self._allowances

    @property
    def join_parts_left(self) -> float:
        return self._session.join_parts_left

    @join_parts_left.setter
    def join_parts_left(self, parts: float) -> None:
        self._session.join_parts_left = parts
        self._is_full = False

    def rests(self, beat: int, now: float) -> bool:
        if self._channels:
            self.active_beat = beat
        return super().rests(beat, now)

    def refill(self, beat: int, now: float) -> None:
        super().refill(beat, now)
        if self._channels:
            self.active_beat = beat

    def congested(self) -> None:
        super().congested()
        for channel in self._channels.values():
            channel.congested()

    def relieved(self) -> None:
        super().relieved()
        for channel in list(self._channels.values()):
            channel.relieved()

    def _wrote(self) -> None:
        """A channel or the connection itself has written something."""
        if self.lagging and self._line.socket.buffered_bytes > self._limits.write_buffer_max_bytes:
            self.close_slow("you left too many bytes unread")

    # --- messages -----------------------------------------------------------------------------------------

    def received(self, payload: bytes) -> None:
        if _IN_THE_TYPE in payload and len(payload) <= _MESSAGE_MAX_BYTES and self._take_channel_message(payload):
            return
        if self._receives_in == 0:
            super().received(payload)
            return
        self._messages_left -= 1
        self._bytes_left -= len(payload)
        is_over = (self._messages_left < 0 or self._bytes_left < 0) and not self._is_within(len(payload))
        channel = self._channels.get(self._receives_in) if self._receives_in is not None else None
        if channel is None or channel.closing_since is not None:
            self._traffic.messages_received["to_closed_channel"] += 1
        elif is_over:
            channel.received_too_much(payload)
        else:
            channel.received(payload)

    def _take_channel_message(self, payload: bytes) -> bool:
        """Carry out a message about channels. False if it is another message."""
        try:
            message = decode_channel_message(str(payload, "utf-8"))
        except InvalidChannelMessage as invalid:
            self.received_overhead()
            self._traffic.messages_received["invalid"] += 1
            self._receives_in = None  # it may have been a switch, and later messages must not reach the wrong room
            self.send_error(ErrorCode.INVALID_MESSAGE, str(invalid))
            return True
        if message is None:
            return False
        self._traffic.messages_received[message.type] += 1
        self._carry_out(message)
        return True

    def _carry_out(self, message: ChannelMessage) -> None:
        number = message.payload.channel
        if isinstance(message, OpenChannel):
            self._messages_left -= 1
            self._open(number, message.payload, has_rate=self._messages_left >= 0 or self._is_within(0))
        elif isinstance(message, CloseChannel):
            self.received_overhead()
            if (channel := self._channels.get(number)) is not None:
                channel.close(message.payload.close_code, "")
        else:
            self.received_overhead()
            self._receives_in = number

    # --- channels -----------------------------------------------------------------------------------------

    def _open(self, number: int, request: OpenChannelPayload, *, has_rate: bool) -> None:
        if number in self._channels:
            self.send_error(ErrorCode.INVALID_MESSAGE, f"OpenChannel: channel {number} is open")
            return
        limits = self._channel_limits
        if not has_rate:
            self._write_closed(number, CloseCode.CHANNEL_REFUSED, f"more than {self._limits}")
        elif len(self._channels) >= limits.channels:
            self._write_closed(number, CloseCode.CHANNEL_REFUSED, f"more than {limits.channels} channels")
        elif (problem := limits.problem(self)) is not None:
            is_draining = problem.code is ErrorCode.DRAINING
            code = CloseCode.SERVICE_RESTART if is_draining else CloseCode.CHANNEL_REFUSED
            self._write_closed(number, code, problem.message)
        else:
            self._accept(number, request)

    def _accept(self, number: int, request: OpenChannelPayload) -> None:
        channel = Channel(self._hub, self._identity, self, hint=request.room, chat_max_chars=self._chat_max_chars)
        self._channels[number] = channel
        self._metrics.channels.inc()
        socket = ChannelSocket(self._line, number, partial(self._close, channel, number))
        if self.lagging:
            channel.congested()
        channel.opened(socket)

    def _close(self, channel: Channel, number: int, code: int, reason: str) -> None:
        """Tell the client that a channel has ended. It is removed a moment later, as after a lost socket."""
        self._write_closed(number, code, reason)
        asyncio.get_running_loop().call_soon(self._forget, channel, number, code)

    def _forget(self, channel: Channel, number: int, code: int) -> None:
        if self._channels.get(number) is channel:
            del self._channels[number]
            self._end(channel, number, code)

    def _end(self, channel: Channel, number: int, code: int) -> None:
        try:
            channel.closed(code)
        except Exception:
            # The other channels and the connection must still end.
            log.exception("a channel failed with an internal error", channel=number)

    def _write_closed(self, number: int, code: int, reason: str) -> None:
        payload = ChannelClosedPayload.model_construct(channel=number, close_code=code, reason=reason)
        self.deliver(text_frame(encode(ChannelClosed.model_construct(payload=payload))))
        self._traffic.replies_sent["ChannelClosed"] += 1

    # --- the identity -------------------------------------------------------------------------------------

    def renew(self, identity: Identity) -> None:
        self._identity = identity
        self._renew_own(identity)
        for channel in list(self._channels.values()):
            channel.take_over(identity)

    def _renew(self, identity: Identity) -> None:
        self.renew(identity)

    def rename(self, username: str) -> None:
        self._identity = replace(self._identity, username=username)
        super()._take_name(username)
        for channel in list(self._channels.values()):
            channel.take_name(username)

    def _take_name(self, username: str) -> None:
        self.rename(username)

    def _renew_own(self, identity: Identity) -> None:
        super()._renew(identity)
