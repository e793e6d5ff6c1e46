"""The protocol state of one connection: which messages are carried out, refused, or have to wait.

Pure. A connection is in at most one room, and joining takes a while. What the client sends meanwhile waits and is
carried out in order once the join is decided, so that `JoinRoom` followed at once by `Chat` does what it says.
"""

from dataclasses import dataclass
from enum import Enum

from studyroom.gateway.connections.limits import JOIN_COST
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.messages import (
    Authenticate,
    ChatSend,
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
    """The message will be carried out later."""

    WAITING = "waiting"
    CONFLATED = "conflated"
    """In the place of an older one, which will not."""


WAITING = Waiting.WAITING
CONFLATED = Waiting.CONFLATED


class Session:
    __slots__ = (
        "_backlog",
        "_backlog_max",
        "_chat_max_chars",
        "_move",
        "_move_at",
        "join_parts_left",
        "joining",
        "room",
        "rooms",
    )

    def __init__(
        self, *, chat_max_chars: int, backlog_max: int, join_parts: float, rooms: frozenset[RoomId] | None = None
    ) -> None:
        self.rooms = rooms
        """Those that may be joined; None for all."""
        self._chat_max_chars = chat_max_chars
        self._backlog_max = backlog_max
        self.join_parts_left = join_parts
        """What may be joined before more is given (`limits`)."""
        self._backlog: list[ClientMessage] | None = None
        self._move: CursorMove | None = None
        """The newest cursor that waits: it does not count, for people move their mouse while they wait."""
        self._move_at = 0
        """How many messages of the backlog come before it."""
        self.room: RoomId | None = None
        """The room the connection is in."""
        self.joining: RoomId | None = None
        """The room whose join is under way; the connection may still be in `room`, which it is joining again."""

    def receive(  # noqa: PLR0911 - one case per message type
        self, message: ClientMessage
    ) -> ClientMessage | Refusal | Waiting:
        """The message itself when it is to be carried out now.

        `JoinRoom` begins a join, which ends with `joined` or `join_failed`. `Authenticate` may change `rooms`, and so
        has its place in the order too.
        """
        if self.joining is not None and not isinstance(message, Ping):
            return self._wait(message)
        match message:
            case CursorMove() | Typing():
                return message if self.room is not None else self._not_in_room(message)
            case ChatSend():
                return self._check_chat(message)
            case JoinRoom():
                return self._begin_join(message)
            case LeaveRoom():
                if self.room is None:
                    return self._not_in_room(message)
                self.room = None
                return message
            case Ping() | Authenticate():
                return message

    def may_join(self, room: RoomId) -> bool:
        return self.rooms is None or room in self.rooms

    def joined(self) -> list[ClientMessage]:
        """The join succeeded. Returns what waited; each is to be received again, in order."""
        self.room, self.joining = self.joining, None
        return self._release()

    def join_failed(self) -> list[ClientMessage]:
        """The join failed; a room that was being joined again is still the connection's room."""
        self.joining = None
        return self._release()

    def _begin_join(self, message: JoinRoom) -> JoinRoom | Refusal:
        if not self.may_join(message.payload.room_id):
            return Refusal(ErrorCode.ROOM_NOT_ALLOWED, "the access token does not grant this room", message)
        if self.join_parts_left < JOIN_COST:
            return Refusal(ErrorCode.RATE_LIMITED, "too many joins: try again a little later", message)
        self.join_parts_left -= JOIN_COST
        self.joining = message.payload.room_id
        if self.room != self.joining:
            self.room = None
        return message

    def _wait(self, message: ClientMessage) -> Refusal | Waiting:
        if self._backlog is None:
            self._backlog = []
        if isinstance(message, CursorMove):
            decision = WAITING if self._move is None else CONFLATED
            self._move, self._move_at = message, len(self._backlog)
            return decision
        if len(self._backlog) >= self._backlog_max:
            return Refusal(ErrorCode.BUSY, f"more than {self._backlog_max} messages while joining", message)
        self._backlog.append(message)
        return WAITING

    def _release(self) -> list[ClientMessage]:
        waiting = self._backlog or []
        if self._move is not None:
            waiting.insert(self._move_at, self._move)
        self._backlog = self._move = None
        return waiting

    def _check_chat(self, message: ChatSend) -> ChatSend | Refusal:
        if self.room is None:
            return self._not_in_room(message)
        content = message.payload.content
        if len(content) > self._chat_max_chars:
            return Refusal(
                ErrorCode.CHAT_TOO_LONG,
                f"{len(content)} characters, the most is {self._chat_max_chars}",
                message,
            )
        if is_blank(content):
            return Refusal(ErrorCode.CHAT_EMPTY, "chat needs content that can be seen", message)
        return message

    @staticmethod
    def _not_in_room(message: ClientMessage) -> Refusal:
        return Refusal(ErrorCode.NOT_IN_ROOM, f"{message.type} needs a room: join one first", message)
