"""A gateway that does not wait for an event of its own before it calls a roster complete.

Run instead of `studyroom gateway`, to show that the test of the join barrier can fail.
"""

import asyncio

from gateway.hearing import Hearing
from gateway.room import Room
from services.cli import main


async def _heard(room: Room, _sequence: int) -> None:
    while not room.consistent:
        await asyncio.sleep(0.001)


Hearing.consistent = property(lambda hearing: hearing.loaded is not None)  # type: ignore[method-assign,assignment]
Room.heard = _heard  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    main()
