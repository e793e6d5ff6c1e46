"""Deletes messages: stores a tombstone, which reaches everybody in order, and then erases the message itself.

The edits of a deleted message are deleted in the same way, because they have its content, and before the message is
erased. So if a gateway dies in between, the message is still stored. Readers leave it out, and every gateway that
receives the tombstone deletes its edits and erases it a little later.

An edit that was on its way may be stored after the tombstone. Every gateway that receives an edit of a message which it
does not remember looks for that message a little later, and deletes the edit if the message is gone.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from studyroom.gateway.chat.stream import ChatStream, NotInRoom
from studyroom.gateway.rooms.history import Stored
from studyroom.gateway.wire.items import Kind
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import API_TIMEOUT_SECONDS, Bus, BusError, StorageFull
from studyroom.shared.chassis.tasks import Tasks
from studyroom.shared.contract import subjects
from studyroom.shared.contract.chat import encode_tombstone
from studyroom.shared.contract.chat_messages import Chat, ChatDeleted, ChatEdited, ChatReaction
from studyroom.shared.contract.groups import ByGroup
from studyroom.shared.contract.headers import MESSAGE_ID
from studyroom.shared.contract.ids import MessageId, RoomId, new_message_id

log = logs.get(__name__)

_ERASE_AFTER_SECONDS = (1.0, 3.0)
"""A random time between these, in which the gateway that stored the tombstone erases the message."""
_LATE_EDIT_SECONDS = 8.0
"""After this time few edits are under way that a gateway accepted before the deletion. In rooms that no gateway hosts,
later ones are found by nobody."""

ChangesAfter = Callable[[RoomId, int], Awaitable[list[Stored]]]
"""Returns all edits and reactions of a room after a sequence. Raises BusError."""


class Deletions:
    def __init__(self, bus: Bus, streams: ByGroup[ChatStream], tasks: Tasks, changes_after: ChangesAfter) -> None:
        self._bus = bus
        self._changes_after = changes_after
        self._streams = streams
        self._tasks = tasks

    async def delete(self, room: RoomId, sequence: int, message: MessageId | None) -> None:
        """Delete a message. When this returns, nobody gets it any more, and the tombstone is on its way to members.

        `message`: the id that the message must have; None for any. May be repeated. Cancellation or an error leaves the
        outcome unknown. Raises NotInRoom or BusError.
        """
        stored = await self._streams.of(room).message_of(room, sequence)
        if stored is not None:
            if not stored.is_message:
                raise NotInRoom(f"{sequence} is not a message")
            if message is not None and message != _id_of(stored):
                raise NotInRoom(f"message {sequence} has another id")
            await self._delete(room, stored)
            self._tasks.spawn("erase", self._delete_late_edits(room, sequence))
        else:
            await self._delete_edits(room, sequence)

    async def _delete(self, room: RoomId, stored: Stored) -> None:
        """Raises BusError."""
        sequence, message = stored.sequence, _id_of(stored)
        try:
            await self._store_tombstone(room, sequence, message)
        except StorageFull:
            # A tombstone is smaller than any message, so it fits into the space that the erased message frees.
            await self._streams.of(room).erase(sequence)
            await self._store_tombstone(room, sequence, message)
        await self._finish(room, stored)

    async def erase_entry(self, room: RoomId, stored: Stored) -> None:
        """Delete one entry: a message without its edits, an edit or a reaction. May be repeated. Raises BusError.

        Clients cannot take back a reaction whose user they may not learn, so they get the chat of the room again.
        """
        resets = stored.kind is Kind.REACTION
        try:
            await self._store_tombstone(room, stored.sequence, _id_of(stored), resets=resets)
        except StorageFull:
            await self._streams.of(room).erase(stored.sequence)
            await self._store_tombstone(room, stored.sequence, _id_of(stored), resets=resets)
        await self._erase(room, stored)

    async def begin_again(self, room: RoomId, sequence: int) -> int:
        """Store a tombstone after which every gateway and client reads the chat of the room again.

        `sequence`: of an entry that was erased or will be. Returns the sequence of the tombstone. Raises BusError.
        """
        tombstone, subject = encode_tombstone(new_message_id(), sequence, resets=True), subjects.chat(room)
        try:
            stored = await self._bus.store(subject, tombstone, {}, timeout_seconds=API_TIMEOUT_SECONDS)
        except StorageFull:
            await self._streams.of(room).erase(sequence)
            stored = await self._bus.store(subject, tombstone, {}, timeout_seconds=API_TIMEOUT_SECONDS)
        return stored.sequence

    async def _finish(self, room: RoomId, stored: Stored) -> None:
        """Do what follows on the tombstone. Raises BusError."""
        if stored.is_message:
            await self._delete_edits(room, stored.sequence)
        await self._erase(room, stored)

    async def _delete_edits(self, room: RoomId, sequence: int) -> None:
        """Delete all edits of a deleted message. Raises BusError."""
        for edit in await self._changes_after(room, sequence):
            if edit.changes == sequence and edit.kind is Kind.EDITED and await self._is_stored(room, edit):
                await self._delete(room, edit)

    async def _is_stored(self, room: RoomId, edit: Stored) -> bool:
        try:
            found = await self._streams.of(room).message_of(room, edit.sequence)
        except NotInRoom:
            return False
        return found is not None and found.ready == edit.ready

    async def _delete_late_edits(self, room: RoomId, sequence: int) -> None:
        """Delete edits that were stored after the tombstone of the message."""
        await asyncio.sleep(_LATE_EDIT_SECONDS)
        try:
            await self._delete_edits(room, sequence)
        except (BusError, TimeoutError) as error:
            log.warning("failed to look for edits of a deleted message", room=room, error=str(error))

    def check_edit(self, room: RoomId, edit: Stored) -> asyncio.Task[None]:
        """Delete an edit a little later if its message is gone. The task ends when that is known and done."""
        return self._tasks.spawn("erase", self._check_edit(room, edit))

    async def _check_edit(self, room: RoomId, edit: Stored) -> None:
        while True:
            await asyncio.sleep(random.uniform(*_ERASE_AFTER_SECONDS))  # noqa: S311 - jitter
            try:
                if await self._is_gone(room, edit.changes) and await self._is_stored(room, edit):
                    await self._delete(room, edit)
                    log.info("deleted a late edit of a deleted message", room=room, sequence=edit.sequence)
            except (BusError, TimeoutError) as error:
                log.info("failed to look for the message of an edit, trying again", error=str(error))
                continue
            return

    async def _is_gone(self, room: RoomId, sequence: int) -> bool:
        """Whether a message was deleted or has expired. Raises BusError."""
        try:
            return await self._streams.of(room).message_of(room, sequence) is None
        except NotInRoom:
            return False  # the stream is another one

    async def _store_tombstone(self, room: RoomId, sequence: int, message: MessageId, *, resets: bool = False) -> None:
        await self._bus.store(
            subjects.chat(room),
            encode_tombstone(message, sequence, resets=resets),
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
                stored = await self._still_stored(room, sequence, deleted.id)
                if stored is not None:
                    await self._finish(room, stored)
                    log.warning("erased a deleted message that was still stored", room=room, sequence=sequence)
            except BusError as error:
                log.info("failed to erase a deleted message, trying again", error=str(error))
                continue
            return

    async def _erase(self, room: RoomId, stored: Stored) -> None:
        """Raises BusError."""
        if await self._still_stored(room, stored.sequence, _id_of(stored)) is not None:
            await self._streams.of(room).erase(stored.sequence)

    async def _still_stored(self, room: RoomId, sequence: int, message: MessageId) -> Stored | None:
        """Return the message if it is stored. There is another one at its sequence if the stream has lost its tail.

        Raises BusError.
        """
        try:
            stored = await self._streams.of(room).message_of(room, sequence)
        except NotInRoom:
            return None
        return None if stored is None or stored.deletes or _id_of(stored) != message else stored


def _id_of(stored: Stored) -> MessageId:
    """The id of a message, an edit or a reaction."""
    match stored.kind:
        case Kind.EDITED:
            return ChatEdited.model_validate_json(stored.ready).payload.id
        case Kind.REACTION:
            return ChatReaction.model_validate_json(stored.ready).payload.id
        case _:
            return Chat.model_validate_json(stored.ready).payload.id
