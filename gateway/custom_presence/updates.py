"""Sends presence the changes of custom presence: one at a time for each membership, and the newest of each field.

Changes that come while another is on its way, or too soon after it, wait and are merged. So a member costs a bounded
number of writes, however often it changes its fields.
"""

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.membership.pending import PendingWork
from studyroom.gateway.membership.presence_client import PresenceClient, PresenceRefused
from studyroom.gateway.rooms.room import Room
from studyroom.shared.chassis import logs
from studyroom.shared.contract.custom_presence import Fields, FieldsChange, difference, fields_bytes, merged
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import MembershipId
from studyroom.shared.contract.presence import Outcome, RoomConnection, UpdateReply, UpdateRequest

log = logs.get(__name__)

_ANSWER_SECONDS = 5.0
"""After this time without an answer, newer changes join the one that is on its way."""
_RECEIVED_SECONDS = 0.05
"""The pause before the room here is looked at again for a stored change. Usually it has the change already."""
_RESTORED_SECONDS = 0.2
"""The pause before presence is asked again about a membership that it does not have."""


@dataclass(slots=True)
class _Unstored:
    """The changes of one membership that presence has not confirmed."""

    sent: dict[str, Any] = field(default_factory=dict)
    """The change that is on its way."""
    waiting: dict[str, Any] = field(default_factory=dict)
    """The changes after that."""


class PresenceUpdates:
    def __init__(self, presence: PresenceClient, pending: PendingWork, *, max_bytes: int, write_seconds: float) -> None:
        """`max_bytes`: the limit for all fields of a member. `write_seconds`: the least time between two writes of a
        membership."""
        self._presence = presence
        self._pending = pending
        self._max_bytes = max_bytes
        self._write_seconds = write_seconds
        self._unstored: dict[MembershipId, _Unstored] = {}
        self._numbers = count(1)
        """The numbers of requests. Those of each membership grow, because it belongs to one gateway."""

    def update(self, connection: Connection, room: Room, change: FieldsChange) -> None:
        """Change fields of a member that is in the room. It gets `presence_too_large` if they would not fit."""
        membership = connection.membership_in(room.id)
        unstored = self._unstored.get(membership.connection) or _Unstored()
        before = merged(room.shown.fields(connection.user), {**unstored.sent, **unstored.waiting})
        waiting = {**unstored.waiting, **change}
        size = max(fields_bytes(merged(before, change)), fields_bytes(waiting))
        if size > max(self._max_bytes, fields_bytes(before)):
            self._refuse(connection, f"the fields have {size} bytes, the maximum is {self._max_bytes}")
            return
        unstored.waiting = waiting
        if membership.connection not in self._unstored:
            self._unstored[membership.connection] = unstored
            self._pending.begin("update presence", self._write(connection, membership, room, unstored))

    async def _write(self, connection: Connection, membership: RoomConnection, room: Room, unstored: _Unstored) -> None:
        """Write the changes of a membership until none waits, or it has ended."""
        loop = asyncio.get_running_loop()
        try:
            while unstored.waiting and connection.claims(membership):
                began = loop.time()
                known = room.shown.fields(membership.user)
                unstored.sent, unstored.waiting = unstored.waiting, {}
                try:
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        reply = await self._presence.update(self._request(membership, unstored.sent))
                except TimeoutError:
                    log.info("a change of custom presence is not stored yet", room=membership.room)
                    unstored.waiting = {**unstored.sent, **unstored.waiting}
                except PresenceRefused as error:
                    log.error("presence refused a change of custom presence", error=str(error))
                    self._refuse(connection, str(error), ErrorCode.INTERNAL)
                else:
                    if reply.outcome is Outcome.TOO_LARGE:  # with the fields of another connection of the user
                        self._refuse(connection, f"all fields together may have {self._max_bytes} bytes")
                    elif reply.outcome is Outcome.NOT_MEMBER:  # until the membership is restored, or ends here too
                        unstored.waiting = {**unstored.sent, **unstored.waiting}
                        await asyncio.sleep(_RESTORED_SECONDS)
                    elif reply.sequence:
                        await self._received(reply, connection, membership, room)
                        lost = _lost(unstored.sent, known, room.shown.fields(membership.user))
                        unstored.waiting = {**lost, **unstored.waiting}
                unstored.sent = {}
                await asyncio.sleep(max(0.0, began + self._write_seconds - loop.time()))
        finally:
            del self._unstored[membership.connection]

    @staticmethod
    async def _received(reply: UpdateReply, connection: Connection, membership: RoomConnection, room: Room) -> None:
        """Returns when the room here has the stored change, which often comes before the answer of presence.

        It gives up after `_ANSWER_SECONDS`, or when the membership ends.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ANSWER_SECONDS
        while not (reply.epoch == room.epoch and room.knows(reply.sequence)):
            if loop.time() > deadline or not connection.claims(membership):
                return
            await asyncio.sleep(_RECEIVED_SECONDS)

    def _request(self, membership: RoomConnection, change: FieldsChange) -> UpdateRequest:
        return UpdateRequest.model_construct(
            room=membership.room,
            user=membership.user,
            connection=membership.connection,
            number=next(self._numbers),
            fields=dict(change),
            max_bytes=self._max_bytes,
        )

    @staticmethod
    def _refuse(connection: Connection, reason: str, code: ErrorCode = ErrorCode.PRESENCE_TOO_LARGE) -> None:
        if connection.is_member:
            connection.send_error(code, reason)


def _lost(sent: FieldsChange, before: Fields, after: Fields) -> FieldsChange:
    """The part of a stored change that the member does not show after it.

    Its entry may have been removed soon after the change, with the lease of a gateway that stood still. Then the
    gateway has restored the member with the fields `before`. If it shows others by now, somebody has set them since.
    """
    return {
        name: value
        for name, value in difference(after, merged(after, sent)).items()
        if before.get(name) == after.get(name)
    }
