"""Merges messages of several streams by their times. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar


class Timed(Protocol):
    @property
    def time(self) -> str:
        """RFC 3339."""


Message = TypeVar("Message", bound=Timed)


def merged(batches: Sequence[tuple[Sequence[Message], bool]]) -> list[tuple[int, Message]]:
    """Return the messages of all batches with the numbers of their batches, ordered by time.

    Messages of one stream keep their order, also where the clocks of its leaders differ.
    A batch comes with whether more follows it in its stream. Nothing after the end of such a batch is returned, because
    the rest of that stream may be earlier.
    """
    found: list[tuple[datetime, int, Message]] = []
    ends: list[datetime] = []
    for number, (messages, has_more) in enumerate(batches):
        newest = None
        for message in messages:
            time = datetime.fromisoformat(message.time)
            newest = time if newest is None else max(newest, time)
            found.append((newest, number, message))
        if has_more and newest is not None:
            ends.append(newest)
    found.sort(key=lambda one: one[0])
    return [(number, message) for time, number, message in found if not ends or time <= min(ends)]
