"""Broadcast events that wait: for the flush of their room, for a slow reader, or for the join of their sender. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from studyroom.gateway.wire.framing import text_frame
from studyroom.gateway.wire.items import Item, Kind
from studyroom.shared.contract.broadcasts import sender_of, slot_of
from studyroom.shared.contract.ids import UserId

WAITING_MAX_BYTES = 262_144
"""The most that waits for one slow reader, or for the join of one sender. Beyond it the oldest events are dropped."""


class Event(NamedTuple):
    sender: UserId
    slot: bytes | None
    """The same for an event and those that it replaces; None for an event without a key."""
    frame: bytes
    """The framed `Broadcast`."""
    ingress_us: int
    """When the sender's gateway read it, in Unix microseconds."""
    is_local: bool
    """Its sender sent it to this gateway."""

    @property
    def item(self) -> Item:
        return Item(self.frame, Kind.BROADCAST, self.ingress_us)


def event_of(message: bytes, ingress_us: int, *, is_local: bool = False) -> Event:
    """`message`: a client-ready `Broadcast`."""
    return Event(sender_of(message), slot_of(message), text_frame(message), ingress_us, is_local)


@dataclass(slots=True)
class Waiting:
    """Events in their order. An event with a key replaces an older one of its slot, and comes last."""

    max_bytes: int = 0
    """0 for no limit."""
    _events: dict[bytes | int, Event] = field(default_factory=dict)
    _size_bytes: int = 0
    _added: int = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> bool:
        """Returns whether the event has replaced another one."""
        self._added += 1
        slot = event.slot or self._added
        replaced = self._pop(slot) if slot in self._events else None
        self._events[slot] = event
        self._size_bytes += len(event.frame)
        return replaced is not None

    def trim(self) -> int:
        """Drop the oldest events beyond the limit. Returns how many those are."""
        dropped = 0
        while self.max_bytes and self._size_bytes > self.max_bytes:
            self._pop(next(iter(self._events)))
            dropped += 1
        return dropped

    def forget(self, sender: UserId) -> int:
        """Drop all events of a sender. Returns how many those are."""
        slots = [slot for slot, event in self._events.items() if event.sender == sender]
        for slot in slots:
            self._pop(slot)
        return len(slots)

    def take(self) -> Collection[Event]:
        """All events, which then wait no more."""
        events, self._events, self._size_bytes = self._events, {}, 0
        return events.values()

    def _pop(self, slot: bytes | int) -> Event:
        event = self._events.pop(slot)
        self._size_bytes -= len(event.frame)
        return event


@dataclass(slots=True)
class Missed:
    """The ephemeral messages that a slow reader has missed so far. It gets the newest when it has caught up."""

    typists: set[UserId] = field(default_factory=set)
    """The users whose typing notices it missed."""
    events: Waiting = field(default_factory=lambda: Waiting(WAITING_MAX_BYTES))
