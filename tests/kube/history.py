"""The events of people in rooms, and what they add up to. Pure: it knows no cluster and no clock.

`web/client/tests/support/people.mjs` emits the events. Times are Unix seconds.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Stored = Mapping[str, list[tuple[int, str]]]
"""The history of each room: the position and the id of each message, in its order."""


@dataclass(frozen=True)
class Event:
    """Its name is one of:

    - `in` and `out` of the room, with a connection
    - `wrote`, and then `stored` or `failed`: the person's own chat
    - `saw`: chat of anybody
    - `left`: another member is no longer in the roster
    - `reset`: the chat starts over
    - `closed`: the connection has ended
    - `looks`: the members and the messages that are shown in the end
    """

    at: float
    person: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, line: str) -> "Event":
        fields = json.loads(line)
        return cls(fields.pop("at"), fields.pop("person"), fields.pop("event"), fields)


@dataclass(frozen=True)
class Span:
    since: float
    until: float


@dataclass(frozen=True)
class Visit:
    """People in their rooms, who stay until the end."""

    rooms: Mapping[str, str]
    """The room of each person."""
    events: list[Event]
    stored: Stored
    began: float
    """When everybody was in and had written."""
    ended: float
    forgiven: tuple[Span, ...] = ()
    """Chat of these times may be lost."""

    def forgives(self, at: float) -> bool:
        return any(span.since <= at <= span.until for span in self.forgiven)

    def since_it_began(self, name: str, events: Iterable[Event]) -> list[Event]:
        return [event for event in events if event.name == name and event.at >= self.began]


@dataclass
class Outcome:
    messages: int = 0
    """In all histories."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Leaves of people who stayed."""
    resets: int = 0
    wrong: list[str] = field(default_factory=list)
    """Everything else that must never be: chat out of order, rosters that differ, clients that gave up."""
    seconds_outside: float = 0.0
    """The longest time that anybody was without a connection in the room."""
    seconds_without_chat: float = 0.0
    """The longest time from writing a message until everybody in the room saw it."""


def judge(visit: Visit) -> Outcome:
    by_person: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(visit.events, key=lambda event: event.at):
        by_person[event.person].append(event)
    outcome = Outcome(messages=sum(map(len, visit.stored.values())))
    outcome.lost += _unanswered(visit) + _gone(visit)
    outcome.doubled += _stored_twice(visit)
    for person in visit.rooms:
        events = by_person[person]
        outcome.lost += _not_shown(person, events, visit)
        outcome.doubled += _shown_twice(person, events)
        left = visit.since_it_began("left", events)
        outcome.left += [f"{person} saw {event.fields['of']} leave" for event in left]
        outcome.resets += len(visit.since_it_began("reset", events))
        outcome.wrong += _wrong_in_the_end(person, events, visit)
        outcome.seconds_outside = max(outcome.seconds_outside, longest_outside(events, visit.began, visit.ended))
    outcome.seconds_without_chat = longest_without_chat(visit)
    return outcome


def _unanswered(visit: Visit) -> list[str]:
    """Chat that failed, or got no answer."""
    stored = {event.fields["id"] for event in visit.events if event.name == "stored"}
    failed = {event.fields["id"]: event.fields["code"] for event in visit.events if event.name == "failed"}
    return [
        f"{event.fields['id']} of {event.person}: {failed.get(event.fields['id'], 'no answer')}"
        for event in visit.events
        if event.name == "wrote" and event.fields["id"] not in stored and not visit.forgives(event.at)
    ]


def _gone(visit: Visit) -> list[str]:
    """Chat that somebody saw, and that is not in the history."""
    there = {message for lines in visit.stored.values() for _, message in lines}
    first_seen: dict[str, float] = {}
    for event in visit.events:
        if event.name in {"stored", "saw"}:
            first_seen.setdefault(event.fields["id"], event.at)
    return [
        f"{message} was shown and is not in the history"
        for message, at in first_seen.items()
        if message not in there and not visit.forgives(at)
    ]


def _not_shown(person: str, events: list[Event], visit: Visit) -> list[str]:
    """Chat of the history that a person was not shown, from the first message on that the person saw."""
    if any(event.name == "reset" for event in events):
        # The chat started over, so it must be whole from the first message on that is shown now.
        seen = {line["id"]: line["seq"] for line in _shown(events) if line["seq"] is not None}
    else:
        seen = {event.fields["id"]: event.fields["seq"] for event in events if event.name == "saw"}
    first = min(seen.values(), default=0)
    return [
        f"{message}, number {position}, was not shown to {person}"
        for position, message in visit.stored.get(visit.rooms[person], [])
        if position >= first and message not in seen
    ]


def _stored_twice(visit: Visit) -> list[str]:
    return [
        f"{message} is {count} times in the history of {room}"
        for room, lines in visit.stored.items()
        for message, count in Counter(message for _, message in lines).items()
        if count > 1
    ]


def _shown_twice(person: str, events: list[Event]) -> list[str]:
    counts = Counter[str]()
    for event in events:
        if event.name == "reset":
            counts.clear()
        elif event.name == "saw":
            counts[event.fields["id"]] += 1
    counts |= Counter(line["id"] for line in _shown(events))
    return [f"{message} was shown {count} times to {person}" for message, count in counts.items() if count > 1]


def _shown(events: Iterable[Event]) -> list[dict[str, Any]]:
    """The messages that a person saw in the end."""
    looks: list[list[dict[str, Any]]] = [event.fields["shown"] for event in events if event.name == "looks"]
    return looks[-1] if looks else []


def _wrong_in_the_end(person: str, events: list[Event], visit: Visit) -> list[str]:
    looks = [event for event in events if event.name == "looks"]
    if not looks:
        return [f"{person} did not answer in the end"]
    found = []
    others = {other for other, room in visit.rooms.items() if room == visit.rooms[person]} - {person}
    seen = set(looks[-1].fields["others"])
    if seen != others:
        found.append(f"{person} sees {len(seen - others)} members too many, and {len(others - seen)} too few")
    positions = [line["seq"] for line in _shown(events) if line["seq"] is not None]
    if positions != sorted(positions):
        found.append(f"{person} sees chat out of order")
    found += [
        f"the client of {person} gave up: {event.fields['cause']}"
        for event in events
        if event.name == "closed" and not event.fields["reconnects"]
    ]
    return found


def longest_outside(events: Iterable[Event], began: float, ended: float) -> float:
    """The longest time in seconds from `out` to the next `in` or to the end. Only the part after `began` counts."""
    longest, since = 0.0, None
    for event in events:
        if event.name == "out":
            since = max(event.at, began)
        elif event.name == "in" and since is not None:
            longest, since = max(longest, event.at - since), None
    return longest if since is None else max(longest, ended - since)


def longest_without_chat(visit: Visit) -> float:
    """The longest time in seconds from writing until the last person saw it. Lost chat counts until the end."""
    sizes = Counter(visit.rooms.values())
    seen: dict[str, dict[str, float]] = defaultdict(dict)
    for event in visit.events:
        if event.name == "saw":
            seen[event.fields["id"]].setdefault(event.person, event.at)
    longest = 0.0
    for event in visit.since_it_began("wrote", visit.events):
        if visit.forgives(event.at):
            continue
        times = seen[event.fields["id"]].values()
        is_whole = len(times) == sizes[visit.rooms[event.person]]
        longest = max(longest, (max(times) if is_whole else visit.ended) - event.at)
    return longest
