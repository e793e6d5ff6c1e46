"""A gateway that delivers the chat it hears and never looks whether any is missing.

Run instead of `studyroom gateway`, to show that the checker can fail.
"""

import asyncio

from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.rooms.history import History, Stored, Verdict
from studyroom.gateway.rooms.room import Room
from studyroom.services.stack.cli import main

_hear = History.receive
_catch_up = Backfill.catch_up


def _hear_without_check(history: History, stored: Stored, _previous: int, *, sure: bool = True) -> Verdict:
    return _hear(history, stored, 0, sure=sure)


def _catch_up_at_first(backfill: Backfill, room: Room, *, wait_seconds: float = 0.0) -> asyncio.Task[None]:
    if room.history.incomplete:
        return _catch_up(backfill, room, wait_seconds=wait_seconds)
    return asyncio.ensure_future(asyncio.sleep(0))


History.receive = _hear_without_check  # type: ignore[method-assign,assignment]
Backfill.catch_up = _catch_up_at_first  # type: ignore[method-assign,assignment]

if __name__ == "__main__":
    main()
