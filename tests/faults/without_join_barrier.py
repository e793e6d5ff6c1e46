"""A gateway that does not wait for an event of its own before it calls a roster complete.

Nor for the history of the chat, which takes as long where the way to the streams' leaders is slow.

Run instead of `studyroom gateway`, to show that the test of the join barrier can fail.
"""

import asyncio

from studyroom.gateway.chat.resume import Resumes
from studyroom.gateway.rooms.change_log import ChangeLog
from studyroom.gateway.rooms.history import Resumption
from studyroom.gateway.rooms.room import Room
from studyroom.services.stack.cli import main
from studyroom.shared.contract.messages import JoinRoomPayload


async def _received(room: Room, _sequence: int) -> None:
    while not room.consistent:
        await asyncio.sleep(0.001)


async def _prepare(_resumes: Resumes, _room: Room, _join: JoinRoomPayload, *, patience_seconds: float) -> Resumption:
    assert patience_seconds
    return Resumption()


ChangeLog.consistent = property(lambda change_log: change_log.loaded is not None)  # type: ignore[method-assign,assignment]
Resumes.prepare = _prepare  # type: ignore[method-assign,assignment]
Room.wait_for_change = _received  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    main()
