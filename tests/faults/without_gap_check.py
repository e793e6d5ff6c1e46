"""A gateway that delivers the chat it receives and never looks whether any is missing.

Run instead of `studyroom gateway`, to show that the checker can fail.
"""

from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.rooms.history import History, Stored, Verdict
from studyroom.gateway.rooms.room import Room
from studyroom.services.stack.cli import main

_receive = History.receive
_repair = Backfill._repair


def _receive_without_check(history: History, stored: Stored, _previous: int, **_: bool) -> Verdict:
    """Deliver also what comes before the stream is known again. If it waited, its room would be repaired."""
    return _receive(history, stored, 0)


async def _repair_at_first(backfill: Backfill, room: Room) -> None:
    if room.history.incomplete:
        await _repair(backfill, room)


History.receive = _receive_without_check  # type: ignore[method-assign,assignment]
Backfill._repair = _repair_at_first  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    main()
