"""Deleting messages: a tombstone is stored, which tells everyone in order, and then the message itself is erased.

A gateway that dies between the two leaves a message that is deleted and still there. Readers leave it out, and every
gateway that comes upon a tombstone sees to it, a little later, that the message is gone.
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
from studyroom.shared.contract.headers import MESSAGE_ID
from studyroom.shared.contract.ids import MessageId, RoomId
from studyroom.shared.contract.messages import Chat, ChatDeleted

log = logs.get(__name__)

_LATER_SECONDS = (1.0, 3.0)
"""Time enough for whoever deletes it to erase it too."""


class Deletions:
    def __init__(self, bus: Bus, stream: ChatStream, tasks: Tasks) -> None:
        self._bus = bus
        self._stream = stream
        self._tasks = tasks

    async def delete(self, room: RoomId, sequence: int, message: MessageId | None) -> None:
        """When this returns nobody gets the message any more, and members are being told.

        Doing it again is harmless. Cancelling, or an error, leaves the outcome unknown. `message`: its id, where that
        is to be made sure of. Raises NotInRoom or BusError.
        """
        stored = await self._stream.message_of(room, sequence)
        if stored is None:
            return
        if stored.deletes:
            raise NotInRoom(f"{sequence} is not a message")
        said = Chat.model_validate_json(stored.ready).payload
        if message is not None and message != said.id:
            raise NotInRoom(f"message {sequence} has another id")
        try:
            await self._entomb(room, sequence, said.id)
        except StorageFull:
            # A tombstone is smaller than any message, so it fits into the room that its message gives back.
            await self._stream.erase(sequence)
            await self._entomb(room, sequence, said.id)
        else:
            await self._erase(room, sequence, said.id)

    async def _entomb(self, room: RoomId, sequence: int, message: MessageId) -> None:
        await self._bus.store(
            subjects.chat(room),
            encode_tombstone(message, sequence),
            {MESSAGE_ID: subjects.deletion_deduplication_id(room, sequence)},
            timeout_seconds=API_TIMEOUT_SECONDS,
        )

    def came_upon(self, room: RoomId, tombstone: Stored) -> asyncio.Task[None]:
        """The room has this tombstone. The task ends when its message is gone."""
        return self._tasks.spawn("erase", self._see_to_it(room, tombstone))

    async def _see_to_it(self, room: RoomId, tombstone: Stored) -> None:
        deleted = ChatDeleted.model_validate_json(tombstone.ready).payload
        sequence = deleted.deleted_seq
        while True:
            await asyncio.sleep(random.uniform(*_LATER_SECONDS))  # noqa: S311 - jitter
            try:
                if await self._erase(room, sequence, deleted.id):
                    log.warning("erased what was deleted and still stored", room=room, sequence=sequence)
            except BusError as error:
                log.info("not erased, trying again", error=str(error))
                continue
            return

    async def _erase(self, room: RoomId, sequence: int, message: MessageId) -> bool:
        """Whether the message was there. Another one with its sequence stays: the stream went back. Raises BusError."""
        try:
            stored = await self._stream.message_of(room, sequence)
        except NotInRoom:
            return False
        if stored is None or stored.deletes or Chat.model_validate_json(stored.ready).payload.id != message:
            return False
        await self._stream.erase(sequence)
        return True
