"""What the gateway sends authors about their messages, also to those that leave the room at once.

An author gets its message with all members, in order. One that leaves before that goes on getting the events of the
room until it has its message, or an error that says that the outcome is unknown. Only then its next join is answered.
"""

import asyncio
import time
from dataclasses import dataclass, field

from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.publisher import ChatPublisher, ChatTooLong, deletion_of
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.rooms.room import Room
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import MessageId

_POLL_SECONDS = 0.01
_HEARD_SECONDS = 3.0
"""A message that was stored and is not heard is fetched before this."""
_FLUSHED_SECONDS = 1.0
"""What was heard has been written to everybody by then."""


@dataclass(slots=True)
class _Outgoing:
    """What a connection has said in the room it is in, or was in last."""

    unanswered: int = 0
    undelivered: list[tuple[int, MessageId]] = field(default_factory=list)
    """Stored, with these sequences, and members may not have been told yet."""
    answered_at: float = 0.0
    """When the last answer came (monotonic seconds)."""


class Authors:
    def __init__(self, chat: ChatPublisher, backfill: Backfill) -> None:
        self._chat = chat
        self._backfill = backfill
        self._outgoing: dict[Connection, _Outgoing] = {}

    def publish(self, connection: Connection, room: Room, content: str, message: MessageId) -> None:
        outgoing = self._outgoing.get(connection)
        if outgoing is None:
            outgoing = self._outgoing[connection] = _Outgoing()

        def stored(sequence: int) -> None:
            self._answered(outgoing, room)
            if not room.history.passed(sequence):
                outgoing.undelivered.append((sequence, message))

        def known(copy: Stored) -> None:
            self._answered(outgoing, room)
            self._answer_repeated(connection, room, message, copy)

        def unknown(message: MessageId) -> None:
            self._answered(outgoing, room)
            self._unknown(connection, message)

        def full(message: MessageId) -> None:
            self._answered(outgoing, room)
            why = "the storage of chat is full: the message is not stored"
            connection.send_error(ErrorCode.CHAT_STORAGE_FULL, why, about=message)

        try:
            self._chat.publish(
                room.id,
                connection.user,
                connection.profile.username,
                content,
                message,
                unknown=unknown,
                lost=lambda message: self._unknown(connection, message),
                full=full,
                stored=stored,
                known=known,
            )
        except ChatTooLong as error:
            connection.send_error(ErrorCode.CHAT_TOO_LONG, str(error), about=message)
        else:
            outgoing.unanswered += 1

    def is_waiting(self, connection: Connection, room: Room) -> bool:
        """The connection, which is in the room, has not seen all that it has said there."""
        outgoing = self._outgoing.get(connection)
        if outgoing is None:
            return False
        if time.monotonic() - outgoing.answered_at < _FLUSHED_SECONDS:
            room.fanout.flush()
        return outgoing.unanswered > 0 or not _all_delivered(outgoing, room)

    async def finished(self, connection: Connection, room: Room) -> None:
        """Returns when the connection has been told of all that it has said in the room, or is closed.

        Bounded by the chat deadline, and some seconds.
        """
        outgoing = self._outgoing.get(connection)
        if outgoing is None:
            return
        while connection.open and outgoing.unanswered:
            await asyncio.sleep(_POLL_SECONDS)
        heard_by = time.monotonic() + _HEARD_SECONDS
        while connection.open and not _all_delivered(outgoing, room) and time.monotonic() < heard_by:
            await asyncio.sleep(_POLL_SECONDS)
        room.fanout.flush()
        for sequence, message in outgoing.undelivered:
            if not room.history.passed(sequence):
                self._unknown(connection, message)
        outgoing.undelivered.clear()

    def forget(self, connection: Connection) -> None:
        """The connection has left the room, and waits for nothing that it said there."""
        self._outgoing.pop(connection, None)

    @staticmethod
    def _answered(outgoing: _Outgoing, room: Room) -> None:
        outgoing.unanswered -= 1
        outgoing.answered_at = time.monotonic()
        if outgoing.undelivered:
            outgoing.undelivered = [line for line in outgoing.undelivered if not room.history.passed(line[0])]

    def _answer_repeated(self, connection: Connection, room: Room, message: MessageId, copy: Stored) -> None:
        # `Chat` names no room: it must not turn up in another one. What was not heard yet comes to all members.
        history = room.history
        if connection not in room or not history.passed(copy.sequence):
            return
        if copy.time and history.is_another(copy):
            self._backfill.suspect()
            self._unknown(connection, message)
            return
        if copy not in history.without_deleted([copy, *history.after(copy.sequence)]):
            copy = deletion_of(message, copy.sequence)
        room.fanout.flush()  # what came before it is not to come behind it
        connection.send_ready(copy.ready)

    @staticmethod
    def _unknown(connection: Connection, message: MessageId) -> None:
        why = "not known to be stored: send it again with the same id"
        connection.send_error(ErrorCode.CHAT_UNAVAILABLE, why, about=message)


def _all_delivered(outgoing: _Outgoing, room: Room) -> bool:
    return all(room.history.passed(sequence) for sequence, _ in outgoing.undelivered)
