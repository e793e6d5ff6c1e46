"""A gateway that delivers the chat it hears and never looks whether any is missing.

Run instead of `studyroom gateway`, to show that the checker can fail.
"""

from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.rooms.history import History, Stored, Verdict
from studyroom.gateway.rooms.room import Room
from studyroom.services.stack.cli import main

_hear = History.receive
_repair = Backfill._repair


def _hear_without_check(history: History, stored: Stored, _previous: int, *, sure: bool = True) -> Verdict:
    return _hear(history, stored, 0, sure=sure)


async def _repair_at_first(backfill: Backfill, room: Room) -> None:
    if room.history.incomplete:
        await _repair(backfill, room)


History.receive = _hear_without_check  # type: ignore[method-assign,assignment]
Backfill._repair = _repair_at_first  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    main()
