"""Publishes messages for their authors, and sends authors the outcome, also when they leave the room at once.

An author gets its message together with all members, in order. An author that leaves before that still gets the events
of the room, until it has its message or an error that says that the outcome is unknown. Only then does its next join
get an answer.
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
_RECEIVED_SECONDS = 3.0
"""Within this time the backfill reads a stored message that the gateway has not received."""
_FLUSHED_SECONDS = 1.0
"""Within this time after its acknowledgement a message is written to local members."""


@dataclass(slots=True)
class _Outgoing:
    """The messages of a connection in its present room, or in its last one."""

    unanswered: int = 0
    """How many messages wait for their acknowledgement."""
    undelivered: list[tuple[int, MessageId]] = field(default_factory=list)
    """Stored messages that local members may not have yet, each with its sequence."""
    answered_at: float = 0.0
    """When the last acknowledgement came (monotonic seconds)."""


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
            reason = "the store of chat is full, and the message is not stored"
            connection.send_error(ErrorCode.CHAT_STORAGE_FULL, reason, about=message)

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
        """Whether the connection, which is in the room, still waits for the outcome of a message there."""
        outgoing = self._outgoing.get(connection)
        if outgoing is None:
            return False
        if time.monotonic() - outgoing.answered_at < _FLUSHED_SECONDS:
            room.fanout.flush()
        return outgoing.unanswered > 0 or not _all_delivered(outgoing, room)

    async def finished(self, connection: Connection, room: Room) -> None:
        """Returns when the connection has the outcome of all its messages in the room, or is closed.

        It takes at most the chat deadline and a few seconds.
        """
        outgoing = self._outgoing.get(connection)
        if outgoing is None:
            return
        while connection.open and outgoing.unanswered:
            await asyncio.sleep(_POLL_SECONDS)
        deadline = time.monotonic() + _RECEIVED_SECONDS
        while connection.open and not _all_delivered(outgoing, room) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        room.fanout.flush()
        for sequence, message in outgoing.undelivered:
            if not room.history.passed(sequence):
                self._unknown(connection, message)
        outgoing.undelivered.clear()

    def forget(self, connection: Connection) -> None:
        """The connection has left the room, and waits for no outcome any more."""
        self._outgoing.pop(connection, None)

    @staticmethod
    def _answered(outgoing: _Outgoing, room: Room) -> None:
        outgoing.unanswered -= 1
        outgoing.answered_at = time.monotonic()
        if outgoing.undelivered:
            outgoing.undelivered = [item for item in outgoing.undelivered if not room.history.passed(item[0])]

    def _answer_repeated(self, connection: Connection, room: Room, message: MessageId, copy: Stored) -> None:
        # `Chat` names no room, so an author that has left must not get it. All members get a message later that the
        # room has not received yet.
        history = room.history
        if connection not in room or not history.passed(copy.sequence):
            return
        if copy.time and history.is_another(copy):
            self._backfill.suspect()
            self._unknown(connection, message)
            return
        if copy not in history.without_deleted([copy, *history.after(copy.sequence)]):
            copy = deletion_of(message, copy.sequence)
        room.fanout.flush()  # frames in the outbox belong before the copy
        connection.send_ready(copy.ready)

    @staticmethod
    def _unknown(connection: Connection, message: MessageId) -> None:
        reason = "the message may be stored or not: send it again with the same id"
        connection.send_error(ErrorCode.CHAT_UNAVAILABLE, reason, about=message)


def _all_delivered(outgoing: _Outgoing, room: Room) -> bool:
    return all(room.history.passed(sequence) for sequence, _ in outgoing.undelivered)
