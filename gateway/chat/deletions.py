"""Deletes messages: stores a tombstone, which reaches everybody in order, and then erases the message itself.

If a gateway dies between the two, the deleted message is still stored. Readers leave it out, and every gateway that
receives a tombstone erases the message a little later if it is still there.
"""

import asyncio
import random

from studyroom.gateway.chat.stream import ChatStream, NotInRoom
from studyroom.gateway.rooms.history import Stored
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, BusError, StorageFull
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_tombstone
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.headers import MESSAGE_ID
from studyroom.shared.contract.ids import MessageId, RoomId
from studyroom.shared.contract.messages import Chat, ChatDeleted

log = logs.get(__name__)

_ERASE_AFTER_SECONDS = (1.0, 3.0)
"""A random time between these, in which the gateway that stored the tombstone erases the message."""


class Deletions:
    def __init__(self, bus: Bus, streams: ByGroup[ChatStream], tasks: Tasks) -> None:
        self._bus = bus
        self._streams = streams
        self._tasks = tasks

    async def delete(self, room: RoomId, sequence: int, message: MessageId | None) -> None:
        """Delete a message. When this returns, nobody gets it any more, and the tombstone is on its way to members.

        `message`: the id that the message must have; None for any. May be repeated. Cancellation or an error leaves the
        outcome unknown. Raises NotInRoom or BusError.
        """
        stored = await self._streams.of(room).message_of(room, sequence)
        if stored is None:
            return
        if stored.deletes:
            raise NotInRoom(f"{sequence} is not a message")
        chat = Chat.model_validate_json(stored.ready).payload
        if message is not None and message != chat.id:
            raise NotInRoom(f"message {sequence} has another id")
        try:
            await self._store_tombstone(room, sequence, chat.id)
        except StorageFull:
            # A tombstone is smaller than any message, so it fits into the space that the erased message frees.
            await self._streams.of(room).erase(sequence)
            await self._store_tombstone(room, sequence, chat.id)
        else:
            await self._erase(room, sequence, chat.id)

    async def _store_tombstone(self, room: RoomId, sequence: int, message: MessageId) -> None:
        await self._bus.store(
            subjects.chat(room),
            encode_tombstone(message, sequence),
            {MESSAGE_ID: subjects.deletion_deduplication_id(room, sequence)},
            timeout_seconds=API_TIMEOUT_SECONDS,
        )

    def erase_later(self, room: RoomId, tombstone: Stored) -> asyncio.Task[None]:
        """Erase the message of a tombstone if it is still stored. The task ends when the message is gone."""
        return self._tasks.spawn("erase", self._erase_later(room, tombstone))

    async def _erase_later(self, room: RoomId, tombstone: Stored) -> None:
        deleted = ChatDeleted.model_validate_json(tombstone.ready).payload
        sequence = deleted.deleted_seq
        while True:
            await asyncio.sleep(random.uniform(*_ERASE_AFTER_SECONDS))  # noqa: S311 - jitter
            try:
                if await self._erase(room, sequence, deleted.id):
                    log.warning("erased a deleted message that was still stored", room=room, sequence=sequence)
            except BusError as error:
                log.info("failed to erase a deleted message, trying again", error=str(error))
                continue
            return

    async def _erase(self, room: RoomId, sequence: int, message: MessageId) -> bool:
        """Whether the message was still stored. Erases no other message at its sequence, which there is if the stream
        has lost its tail. Raises BusError."""
        try:
            stored = await self._streams.of(room).message_of(room, sequence)
        except NotInRoom:
            return False
        if stored is None or stored.deletes or Chat.model_validate_json(stored.ready).payload.id != message:
            return False
        await self._streams.of(room).erase(sequence)
        return True
