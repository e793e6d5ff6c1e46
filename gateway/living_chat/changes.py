"""Carries out what clients ask to change in the chat: edits, deletions by authors, and reactions.

The gateway checks that the message exists, and that it is the user's own if only its author may change it. It has the
newest messages of the room and reads older ones from the stream. Meanwhile later requests of the same connection wait,
so they are stored in their order.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from studyroom.gateway.chat.authors import Authors, send_unknown
from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.chat.publisher import deletion_of
from studyroom.gateway.chat.stream import ChatStream, NotInRoom
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.living_chat.rules import ChangeRefused, check
from studyroom.gateway.membership.pending import PendingWork
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.rooms.room import Room
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import BusError
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_edit, encode_reaction
from studyroom.shared.contract.chat_messages import (
    ChangeOfChat,
    DeleteChat,
    EditChat,
    ReactToChat,
    id_for_errors,
)
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.ids import new_message_id

log = logs.get(__name__)

_WAITING_MAX = 64


class Changes:
    def __init__(
        self,
        authors: Authors,
        deletions: Deletions,
        streams: ByGroup[ChatStream],
        pending: PendingWork,
        *,
        living_chat: bool,
        edit_seconds: int,
        deadline_seconds: float,
    ) -> None:
        """`living_chat`: whether clients may change chat at all. `edit_seconds`: how long authors may edit and delete a
        message; 0 for ever."""
        self._authors = authors
        self._deletions = deletions
        self._streams = streams
        self._pending = pending
        self._living_chat = living_chat
        self._edit_seconds = edit_seconds
        self._deadline_seconds = deadline_seconds
        self._waiting: dict[Connection, deque[tuple[Room, ChangeOfChat]]] = {}
        """Requests that wait for the stream, or for others of the connection that do."""

    def change(self, connection: Connection, room: Room, request: ChangeOfChat) -> None:
        """Carry out the request of a connection that is in the room. The connection gets the outcome."""
        if not self._living_chat:
            self._refuse(connection, request, ErrorCode.LIVING_CHAT_OFF, "chat cannot be changed here")
            return
        waiting = self._waiting.get(connection)
        target = room.history.find(request.payload.target_seq)
        if waiting is None and target is not None and not isinstance(request, DeleteChat):
            try:
                self._store(connection, room, request, target)
            except ChangeRefused as refused:
                self._refuse(connection, request, refused.code, str(refused))
        elif waiting is None:
            self._waiting[connection] = deque([(room, request)])
            self._pending.begin("change chat", self._carry_out(connection, self._authors.hold(connection)))
        elif len(waiting) < _WAITING_MAX:
            waiting.append((room, request))
        else:
            self._refuse(connection, request, ErrorCode.RATE_LIMITED, f"more than {_WAITING_MAX} changes wait")

    async def _carry_out(self, connection: Connection, ended: Callable[[], None]) -> None:
        """Carry out the waiting requests of a connection until there are none. Then call `ended`."""
        waiting = self._waiting[connection]
        try:
            while waiting:
                room, request = waiting.popleft()
                try:
                    async with asyncio.timeout(self._deadline_seconds):
                        await self._carry_out_one(connection, room, request)
                except ChangeRefused as refused:
                    self._refuse(connection, request, refused.code, str(refused))
                except (BusError, TimeoutError) as error:
                    log.info("a change of chat is not stored", error=str(error) or "no answer in time")
                    if (message := id_for_errors(request)) is not None:
                        send_unknown(connection, message)
        finally:
            del self._waiting[connection]
            ended()

    async def _carry_out_one(self, connection: Connection, room: Room, request: ChangeOfChat) -> None:
        """Raises ChangeRefused, BusError or TimeoutError."""
        sequence = request.payload.target_seq
        try:
            # A message is stored for a moment after its tombstone.
            lacks = room.history.lacks(sequence)
            target = None if lacks else await self._streams.of(room.id).message_of(room.id, sequence)
        except NotInRoom as error:
            raise ChangeRefused(ErrorCode.CHAT_NOT_FOUND, str(error)) from error
        if connection not in room:
            return  # the user was removed, or the connection is lost
        if not isinstance(request, DeleteChat):
            self._store(connection, room, request, target)
        elif target is not None:
            self._check(connection, request, target)
            await self._deletions.delete(room.id, sequence, request.payload.target_id)
        elif room.history.passed(sequence):  # it may be deleted already, and its tombstone was long ago
            connection.send_ready(deletion_of(request.payload.target_id, sequence).ready)

    def _store(
        self, connection: Connection, room: Room, request: EditChat | ReactToChat, target: Stored | None
    ) -> None:
        """Raises ChangeRefused."""
        self._check(connection, request, target)
        user, message = connection.user, request.payload.id or new_message_id()
        if isinstance(request, EditChat):
            encoded = encode_edit(user, request.payload, int(time.time()), message)
        else:
            encoded = encode_reaction(user, request.payload, message)
        self._authors.store(
            connection, room, message, encoded, subjects.change_deduplication_id(room.id, user, message)
        )

    def _check(self, connection: Connection, request: ChangeOfChat, target: Stored | None) -> None:
        """Raises ChangeRefused."""
        check(request, connection.user, target, now=datetime.now(UTC), edit_seconds=self._edit_seconds)

    @staticmethod
    def _refuse(connection: Connection, request: ChangeOfChat, code: ErrorCode, reason: str) -> None:
        connection.send_error(code, reason, about=id_for_errors(request))
