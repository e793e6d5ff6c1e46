"""One client's connection: what it says is validated, decided by its session, and carried out."""

import time
from typing import TYPE_CHECKING, Protocol

from gateway.framing import text_frame
from gateway.identity import Identity
from gateway.metrics import GatewayMetrics
from gateway.session import WAITING, Refusal, Session
from shared.close_codes import CloseCode
from shared.errors import ErrorCode
from shared.ids import ConnectionId, MessageId, RoomId, UserId, new_connection_id, new_message_id
from shared.messages import (
    ChatSend,
    ClientMessage,
    CursorMove,
    Error,
    ErrorPayload,
    InvalidMessage,
    JoinRoom,
    LeaveRoom,
    Ping,
    Pong,
    Typing,
    Welcome,
    WelcomePayload,
    decode_client_message,
    encode,
)
from shared.presence import Place, Profile

if TYPE_CHECKING:
    from gateway.room import Room

_PONG = text_frame(encode(Pong()))
_BACKLOG_MAX = 64
_KNOWN_CODES = frozenset(CloseCode)
"""Clients may close with any of thousands of codes; metrics must not have a label for each."""


class Socket(Protocol):
    """What a connection needs of its socket; `gateway.websocket.ClientSocket` is one."""

    paused: bool

    @property
    def closing_since(self) -> float | None: ...
    @property
    def buffered_bytes(self) -> int: ...
    def write(self, frames: bytes) -> None: ...
    def close(self, code: int, reason: str = "") -> None: ...
    def abort(self) -> None: ...


class Hub(Protocol):
    """What connections ask of the gateway."""

    metrics: GatewayMetrics
    write_buffer_max_bytes: int

    @property
    def beat(self) -> int:
        """Counts up with every heartbeat sweep: a clock that costs nothing to read."""

    def register(self, connection: "Connection") -> None: ...
    def unregister(self, connection: "Connection") -> None: ...
    def join(self, connection: "Connection", room: RoomId) -> None: ...
    def leave(self, connection: "Connection", room: "Room", *, lost: bool) -> None: ...
    def chat(self, connection: "Connection", room: RoomId, content: str, message: MessageId) -> None: ...


class Connection:
    __slots__ = (
        "_hub",
        "_session",
        "_socket",
        "heard_beat",
        "id",
        "identity",
        "open",
        "pinged",
        "room",
    )

    def __init__(self, hub: Hub, identity: Identity, *, chat_max_chars: int) -> None:
        self._hub = hub
        self._session = Session(chat_max_chars=chat_max_chars, backlog_max=_BACKLOG_MAX)
        self._socket: Socket | None = None
        self.id: ConnectionId = new_connection_id()
        self.identity = identity
        self.open = False
        self.room: Room | None = None
        """The room that delivers to this connection."""
        self.heard_beat = hub.beat
        self.pinged = False

    @property
    def user(self) -> UserId:
        return self.identity.user

    @property
    def profile(self) -> Profile:
        return self.identity.profile

    def place(self, room: RoomId) -> Place:
        return Place.model_construct(room=room, user=self.user, connection=self.id)

    def is_or_will_be_in(self, room: RoomId) -> bool:
        return self.open and room in {self._session.room, self._session.joining}

    @property
    def in_or_joining(self) -> RoomId | None:
        return self._session.joining or self._session.room

    # --- the socket ---------------------------------------------------------------------------------------

    def opened(self, socket: Socket) -> None:
        self._socket = socket
        self.open = True
        self._hub.register(self)
        payload = WelcomePayload.model_construct(
            connection_id=self.id, user_id=self.user, server_time=time.time_ns() // 1_000_000
        )
        self.deliver(text_frame(encode(Welcome.model_construct(payload=payload))))
        self._hub.metrics.traffic.messages_sent["Welcome"] += 1

    def heard(self) -> None:
        self.heard_beat = self._hub.beat
        self.pinged = False

    def received(self, text: str) -> None:
        traffic = self._hub.metrics.traffic
        traffic.received_bytes += len(text)
        try:
            message = decode_client_message(text)
        except InvalidMessage as invalid:
            traffic.messages_received["invalid"] += 1
            self.send_error(invalid.code, str(invalid))
            return
        traffic.messages_received[message.type] += 1
        self._receive(message)

    def closed(self, code: int) -> None:
        self.open = False
        self._socket = None
        self._hub.metrics.disconnects.labels(code=code if code in _KNOWN_CODES else "other").inc()
        self._hub.unregister(self)
        self._leave(lost=code != CloseCode.NORMAL)

    def deliver(self, frames: bytes) -> None:
        """Write encoded frames; close who leaves too much of them unread."""
        socket = self._socket
        if socket is None:
            return
        self._hub.metrics.traffic.sent_bytes += len(frames)
        socket.write(frames)
        if socket.paused and socket.buffered_bytes > self._hub.write_buffer_max_bytes:
            self._hub.metrics.dropped.labels(lane="essential", reason="slow_consumer").inc()
            self.close(CloseCode.SLOW_CONSUMER, "too much was left unread")

    def close(self, code: int, reason: str) -> None:
        if self._socket is not None:
            self._socket.close(code, reason)

    def abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()

    @property
    def closing_since(self) -> float | None:
        """Monotonic seconds; None while no closing handshake is under way."""
        return self._socket.closing_since if self._socket is not None else None

    def ping(self, frame: bytes) -> None:
        self.pinged = True
        if self._socket is not None:
            self._socket.write(frame)

    # --- what the client says -----------------------------------------------------------------------------

    def _receive(self, message: ClientMessage) -> None:  # noqa: C901 - one case per message type
        decision = self._session.receive(message)
        if decision is WAITING:
            return
        if isinstance(decision, Refusal):
            about = decision.about.payload.id if isinstance(decision.about, ChatSend) else None
            self.send_error(decision.code, decision.message, about=about)
            return
        match decision:
            case CursorMove(payload=position):
                if self.room is not None:
                    self.room.move_cursor(self.user, position, _now_us())
            case Typing(payload=typing):
                if self.room is not None:
                    self.room.type(self.user, is_typing=typing.is_typing, ingress_us=_now_us())
            case ChatSend(payload=chat):
                if self.room is not None:
                    self._hub.chat(self, self.room.id, chat.content, chat.id or new_message_id())
            case JoinRoom(payload=join):
                if self.room is not None and self.room.id != join.room_id:
                    self._leave(lost=False)
                self._hub.join(self, join.room_id)
            case LeaveRoom():
                self._leave(lost=False)
            case Ping():
                self.deliver(_PONG)
                self._hub.metrics.traffic.messages_sent["Pong"] += 1

    def _leave(self, *, lost: bool) -> None:
        if self.room is not None:
            room, self.room = self.room, None
            self._hub.leave(self, room, lost=lost)

    # --- what the gateway decided -------------------------------------------------------------------------

    def joined(self, room: "Room") -> None:
        self.room = room
        self._resume(self._session.joined())

    def join_failed(self, code: ErrorCode, message: str) -> None:
        self.send_error(code, message)
        self._resume(self._session.join_failed())

    def _resume(self, waiting: list[ClientMessage]) -> None:
        for message in waiting:
            self._receive(message)

    def send_error(self, code: ErrorCode, message: str, *, about: MessageId | None = None) -> None:
        payload = ErrorPayload.model_construct(message=message, code=code, id=about)
        self.deliver(text_frame(encode(Error.model_construct(payload=payload))))
        self._hub.metrics.error_sent(code)

    def send_ready(self, message: bytes) -> None:
        """A client-ready `Chat` for this connection alone."""
        self.deliver(text_frame(message))
        self._hub.metrics.traffic.messages_sent["Chat"] += 1


def _now_us() -> int:
    return time.time_ns() // 1000
