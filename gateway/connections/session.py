"""The protocol state of one connection. It decides whether the gateway carries out, refuses or delays a message.

Pure. A connection is in at most one room, and a join takes a while. Messages that the client sends meanwhile wait, and
are carried out in order after the join. So a client may send `JoinRoom` and `Chat` at once.

    Outside ──JoinRoom──▶ Joining ──joined──▶ InRoom       Any of them ──expel──▶ Expelled ──close──▶ Closed
       ▲                     │                   │         Any of them ──close──▶ Closed
       └─────join_failed─────┴─────LeaveRoom─────┘

`JoinRoom` in a room leads to `Joining` too. If it is the same room, the connection stays in it meanwhile.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Generic, TypeVar

from studyroom.gateway.auth.events import ALL_EVENTS, EventRights
from studyroom.gateway.connections.limits import JOIN_COST
from studyroom.shared.contract.broadcasts import BroadcastSend
from studyroom.shared.contract.chat_messages import ChatSend, DeleteChat, EditChat, ReactToChat
from studyroom.shared.contract.custom_presence import UpdatePresence
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.identification import Authenticate, Rename
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.messages import (
    ClientMessage,
    CursorMove,
    JoinRoom,
    LeaveRoom,
    Ping,
    Typing,
)
from studyroom.shared.contract.text import is_blank


@dataclass(frozen=True, slots=True)
class Refusal:
    code: ErrorCode
    message: str
    about: ClientMessage


class Waiting(Enum):
    """The gateway carries out the message later."""

    WAITING = "waiting"
    CONFLATED = "conflated"
    """The message replaces an older one, which is dropped."""


WAITING = Waiting.WAITING
CONFLATED = Waiting.CONFLATED


Room = TypeVar("Room")
"""The type of the gateway's rooms. A session only stores them."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The connection is in no room and joins none."""

    room: ClassVar[None] = None
    room_id: ClassVar[None] = None
    joining: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class InRoom(Generic[Room]):
    room_id: RoomId
    room: Room
    joining: ClassVar[None] = None


@dataclass(slots=True)
class Joining(Generic[Room]):
    """A join is in progress, and messages wait for its end."""

    joining: RoomId
    still_in: InRoom[Room] | None
    """Set if the connection joins its present room again."""
    removed: bool = False
    """A moderator has removed the connection from the room, so it must leave after the join."""
    _backlog: list[ClientMessage] = field(default_factory=list)
    _move: CursorMove | None = None
    """The newest waiting cursor. It does not count for the limit, because people move the mouse while they wait."""
    _move_at: int = 0
    """How many messages of the backlog come before `_move`."""

    @property
    def room(self) -> Room | None:
        return self.still_in.room if self.still_in is not None else None

    @property
    def room_id(self) -> RoomId | None:
        return self.still_in.room_id if self.still_in is not None else None

    def wait(self, message: ClientMessage, backlog_max: int) -> Refusal | Waiting:
        if isinstance(message, CursorMove):
            decision = WAITING if self._move is None else CONFLATED
            self._move, self._move_at = message, len(self._backlog)
            return decision
        if len(self._backlog) >= backlog_max:
            return Refusal(ErrorCode.BUSY, f"more than {backlog_max} messages while joining", message)
        self._backlog.append(message)
        return WAITING

    def release(self) -> list[ClientMessage]:
        """The messages that waited, in order."""
        waiting = self._backlog
        if self._move is not None:
            waiting.insert(self._move_at, self._move)
        return waiting


@dataclass(frozen=True, slots=True)
class Expelled:
    """A moderator has closed the connection, and its socket is about to end."""

    joining: RoomId | None
    """A join was in progress, and presence may still write it."""
    room: ClassVar[None] = None
    room_id: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class Closed:
    for_good: bool
    """The client closed with a final code, or a moderator closed the connection, so there is no grace period."""
    room: ClassVar[None] = None
    room_id: ClassVar[None] = None
    joining: ClassVar[None] = None


State = Outside | Joining[Room] | InRoom[Room] | Expelled | Closed
OUTSIDE = Outside()


class NotJoining(Exception):
    """No join is in progress that could succeed."""


class Session(Generic[Room]):
    """Only `state` says where the connection is, and only methods of the session change it."""

    __slots__ = ("_backlog_max", "_chat_max_chars", "events", "join_parts_left", "rooms", "state")

    def __init__(
        self,
        *,
        chat_max_chars: int,
        backlog_max: int,
        join_parts: float,
        rooms: frozenset[RoomId] | None = None,
        events: EventRights = ALL_EVENTS,
    ) -> None:
        self.rooms = rooms
        """The rooms that the client may join; None for all."""
        self.events = events
        """The broadcast events that the client may send."""
        self._chat_max_chars = chat_max_chars
        self._backlog_max = backlog_max
        self.join_parts_left = join_parts
        """The remaining allowance for joins, in parts of a join (see `limits`)."""
        self.state: State[Room] = OUTSIDE

    @property
    def room(self) -> Room | None:
        return self.state.room

    @property
    def joining(self) -> RoomId | None:
        """The room that the connection joins now, if any. It may still be in `room`, if it joins that again."""
        return self.state.joining

    @property
    def open(self) -> bool:
        return not isinstance(self.state, Closed)

    @property
    def gone_for_good(self) -> bool:
        """The user gets no grace period for the connection."""
        state = self.state
        return isinstance(state, Expelled) or (isinstance(state, Closed) and state.for_good)

    def receive(  # noqa: PLR0911 - one case per message type
        self, message: ClientMessage
    ) -> ClientMessage | Refusal | Waiting:
        """Returns the message itself if the gateway must carry it out now.

        `JoinRoom` begins a join, which ends with `joined` or `join_failed`. `Authenticate` waits too, because it may
        change `rooms` and `events`.
        """
        state = self.state
        if isinstance(state, Joining) and not isinstance(message, Ping):
            return state.wait(message, self._backlog_max)
        match message:
            case CursorMove() | Typing() | UpdatePresence() | DeleteChat() | ReactToChat():
                return message if isinstance(state, InRoom) else self._not_in_room(message)
            case ChatSend() | EditChat():
                return self._check_chat(message)
            case BroadcastSend():
                return self._check_broadcast(message)
            case JoinRoom():
                return self._begin_join(message)
            case LeaveRoom():
                return message if self.leave() is not None else self._not_in_room(message)
            case Ping() | Authenticate() | Rename():
                return message

    def may_join(self, room: RoomId) -> bool:
        return self.rooms is None or room in self.rooms

    def leave(self) -> Room | None:
        """Leave the room. Returns it; None if the connection is in no room, or joins one."""
        state = self.state
        if not isinstance(state, InRoom):
            return None
        self.state = OUTSIDE
        return state.room

    def joined(self, room: Room) -> list[ClientMessage]:
        """The join succeeded. Returns the messages that waited. Pass each to `receive` in order. Raises NotJoining."""
        state = self.state
        if not isinstance(state, Joining):
            raise NotJoining
        self.state = InRoom(state.joining, room)
        return state.release()

    def join_failed(self) -> list[ClientMessage]:
        """The join failed. If it was for the room that the connection is in, it stays there.

        Returns the messages that waited, as `joined` does; none if the connection has closed meanwhile.
        """
        state = self.state
        if not isinstance(state, Joining):
            return []
        self.state = state.still_in or OUTSIDE
        return state.release()

    def expel(self) -> Room | None:
        """A moderator closes the connection. Returns the room that it was in, if any."""
        room = self.state.room
        self.state = Expelled(self.state.joining)
        return room

    def close(self, *, for_good: bool) -> Room | None:
        """The socket has ended. `for_good`: with a final close code. Returns the room that the connection was in."""
        room = self.state.room
        self.state = Closed(for_good or self.gone_for_good)
        return room

    def _begin_join(self, message: JoinRoom) -> JoinRoom | Refusal:
        if not self.may_join(message.payload.room_id):
            return Refusal(ErrorCode.ROOM_NOT_ALLOWED, "the access token does not grant this room", message)
        if self.join_parts_left < JOIN_COST:
            return Refusal(ErrorCode.RATE_LIMITED, "too many joins, try again soon", message)
        room_id, state = message.payload.room_id, self.state
        if not isinstance(state, Outside | InRoom):
            return self._not_in_room(message)  # the connection is about to end
        self.join_parts_left -= JOIN_COST
        still_in = state if isinstance(state, InRoom) and state.room_id == room_id else None
        self.state = Joining(room_id, still_in)
        return message

    def _check_chat(self, message: ChatSend | EditChat) -> ChatSend | EditChat | Refusal:
        if not isinstance(self.state, InRoom):
            return self._not_in_room(message)
        content = message.payload.content
        if len(content) > self._chat_max_chars:
            return Refusal(
                ErrorCode.CHAT_TOO_LONG,
                f"the message has {len(content)} characters, the maximum is {self._chat_max_chars}",
                message,
            )
        if is_blank(content):
            return Refusal(ErrorCode.CHAT_EMPTY, "the content needs a visible character", message)
        return message

    def _check_broadcast(self, message: BroadcastSend) -> BroadcastSend | Refusal:
        if not isinstance(self.state, InRoom):
            return self._not_in_room(message)
        event = message.payload.event
        if not self.events.allow(event):
            return Refusal(ErrorCode.BROADCAST_NOT_ALLOWED, f"the event {event} needs a token that names it", message)
        return message

    @staticmethod
    def _not_in_room(message: ClientMessage) -> Refusal:
        return Refusal(ErrorCode.NOT_IN_ROOM, f"{message.type} needs a room: join one first", message)
