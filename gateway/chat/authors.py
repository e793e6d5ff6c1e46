"""Publishes messages for their authors, and sends authors the outcome, also when they leave the room at once.

An author gets its message together with all members, in order. An author that leaves before that still gets the events
of the room, until it has its message or an error that says that the outcome is unknown. Only then does its next join
get an answer.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.publisher import ChatPublisher, ChatTooLong, deletion_of
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.rooms.room import Room
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_sent
from studyroom.shared.contract.chat_messages import ChatSendPayload
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.ids import MessageId, new_message_id

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


@dataclass(frozen=True, slots=True)
class _Publication:
    """One published message. Sends its outcome to the author."""

    connection: Connection
    room: Room
    message: MessageId
    outgoing: _Outgoing
    backfills: ByGroup[Backfill]

    def stored(self, sequence: int) -> None:
        self._answered()
        if not self.room.history.passed(sequence):
            self.outgoing.undelivered.append((sequence, self.message))

    def repeated(self, copy: Stored) -> None:
        self._answered()
        # `Chat` names no room, so an author that has left must not get it. All members get a message later that the
        # room has not received yet.
        connection, history = self.connection, self.room.history
        if connection not in self.room or not history.passed(copy.sequence):
            return
        if copy.time and history.is_another(copy):
            self.backfills.of(self.room.id).suspect()
            send_unknown(connection, self.message)
            return
        if copy not in history.without_deleted([copy, *history.after(copy.sequence)]):
            copy = deletion_of(self.message, copy.sequence)
        copy = history.now(copy)
        self.room.fanout.flush()  # frames in the outbox belong before the copy
        connection.send_ready(copy.ready)

    def full(self) -> None:
        self._answered()
        reason = "the store of chat is full, and the message is not stored"
        self.connection.send_error(ErrorCode.CHAT_STORAGE_FULL, reason, about=self.message)

    def unknown(self) -> None:
        self._answered()
        send_unknown(self.connection, self.message)

    def lost(self) -> None:
        send_unknown(self.connection, self.message)

    def _answered(self) -> None:
        outgoing = self.outgoing
        outgoing.unanswered -= 1
        outgoing.answered_at = time.monotonic()
        if outgoing.undelivered:
            outgoing.undelivered = [item for item in outgoing.undelivered if not self.room.history.passed(item[0])]


class Authors:
    def __init__(self, chat: ChatPublisher, backfills: ByGroup[Backfill], *, living_chat: bool) -> None:
        """`living_chat`: whether messages may reply and mention."""
        self._chat = chat
        self._living_chat = living_chat
        self._backfills = backfills
        self._outgoing: dict[Connection, _Outgoing] = {}

    def publish(self, connection: Connection, room: Room, chat: ChatSendPayload) -> None:
        """Publish a message. Its author gets the outcome."""
        if not self._living_chat and (chat.reply_to is not None or chat.mentions):
            connection.send_error(ErrorCode.LIVING_CHAT_OFF, "chat has no replies and mentions here", about=chat.id)
            return
        user, message = connection.user, chat.id or new_message_id()
        encoded = encode_sent(user, connection.profile.username, chat, int(time.time()), message)
        self.store(connection, room, message, encoded, subjects.chat_deduplication_id(room.id, user, message))

    def store(
        self, connection: Connection, room: Room, message: MessageId, encoded: bytes, deduplication_id: str
    ) -> None:
        """Store an encoded message, edit or reaction with this id. Its author gets the outcome."""
        outgoing = self._outgoing_of(connection)
        try:
            publication = _Publication(connection, room, message, outgoing, self._backfills)
            self._chat.publish(room.id, message, encoded, deduplication_id, publication)
        except ChatTooLong as error:
            connection.send_error(ErrorCode.CHAT_TOO_LONG, str(error), about=message)
        else:
            outgoing.unanswered += 1

    def hold(self, connection: Connection) -> Callable[[], None]:
        """The connection waits for an outcome, and does not leave its room before that. Call the result then."""
        outgoing = self._outgoing_of(connection)
        outgoing.unanswered += 1

        def release() -> None:
            outgoing.unanswered -= 1

        return release

    def _outgoing_of(self, connection: Connection) -> _Outgoing:
        outgoing = self._outgoing.get(connection)
        if outgoing is None:
            outgoing = self._outgoing[connection] = _Outgoing()
        return outgoing

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
                send_unknown(connection, message)
        outgoing.undelivered.clear()

    def forget(self, connection: Connection) -> None:
        """The connection has left the room, and waits for no outcome any more."""
        self._outgoing.pop(connection, None)


def _all_delivered(outgoing: _Outgoing, room: Room) -> bool:
    return all(room.history.passed(sequence) for sequence, _ in outgoing.undelivered)


def send_unknown(connection: Connection, message: MessageId) -> None:
    """The outcome of a message of this connection is unknown."""
    reason = "the message may be stored or not: send it again with the same id"
    connection.send_error(ErrorCode.CHAT_UNAVAILABLE, reason, about=message)
