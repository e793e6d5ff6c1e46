"""The rules for broadcast events and custom presence, on the messages of one connection. Pure.

Actors number their events and fields. `Received` judges the messages that a connection receives, and `OwnFields` keeps
the fields of one tab as a client that follows the protocol does.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Fields = dict[str, Any]
Key = tuple[str, str]
"""A room and a user."""
EVENT = "count"
POINTER = "pointer"
"""The key of events with a key."""


def event(room: str, connection: str, number: int, *, keyed: bool) -> dict[str, Any]:
    """The payload of a `Broadcast`, with its place among the events of its connection."""
    payload = {"event": EVENT, "data": {"room": room, "connection": connection, "number": number, "keyed": keyed}}
    return payload | {"key": POINTER} if keyed else payload


@dataclass
class Received:
    """The events and fields that one connection has received so far, and the rules that they break."""

    user: str
    room: str = ""
    fields: dict[str, Fields] = field(default_factory=dict)
    """The fields of each member."""
    numbers: dict[str, int] = field(default_factory=dict)
    """The last number of each connection that has sent events."""
    violations: list[str] = field(default_factory=list)
    judged: int = 0
    """How many events and changes there were."""
    _looks: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def take(self, message: Mapping[str, Any]) -> None:
        payload = message.get("payload", {})
        match message["type"]:
            case "JoinedRoom":
                self.room = payload["room_id"]
                self.fields.clear()
                self._looks.clear()
                for user in payload["users"]:
                    self._show(user)
            case "UserJoined":
                self._show(payload["user"])
            case "UserUpdated":
                self._updated(payload["user"])
            case "UserLeft":
                self.fields.pop(payload["user_id"], None)
                self._looks.pop(payload["user_id"], None)
            case "PresenceChanged":
                self._changed(payload["user_id"], payload["fields"])
            case "Broadcast":
                self._event(payload)
            case _:
                pass

    def _show(self, user: Mapping[str, Any]) -> None:
        self.fields[user["user_id"]] = dict(user.get("presence") or {})
        self._looks[user["user_id"]] = user.get("username"), user.get("avatar_url")

    def _updated(self, user: Mapping[str, Any]) -> None:
        if self._looks.get(user["user_id"]) == (user.get("username"), user.get("avatar_url")):
            self._wrong(f"received an update of {user['user_id']} with the same name and avatar")
        self._show(user)

    def _changed(self, user: str, change: Fields) -> None:
        self.judged += 1
        known = self.fields.get(user)
        if known is None:
            self._wrong(f"received fields of {user}, who is not in the room")
            return
        same = [name for name, value in change.items() if known.get(name) == value]
        if same or not change:
            self._wrong(f"received fields of {user} that it had already: {same}")
        self.fields[user] = {name: value for name, value in {**known, **change}.items() if value is not None}

    def _event(self, payload: Mapping[str, Any]) -> None:
        self.judged += 1
        sender, data = payload["user_id"], payload["data"]
        if sender == self.user:
            self._wrong("received an event of its own")
        elif sender not in self.fields:
            self._wrong(f"received an event of {sender}, who is not in the room")
        if data["room"] != self.room:
            self._wrong(f"received an event of another room from {sender}")
        if data["keyed"] != (payload.get("key") == POINTER):
            self._wrong(f"received an event of {sender} with another key")
        newest = self.numbers.get(data["connection"], 0)
        if data["number"] <= newest:
            self._wrong(f"received event {data['number']} of {sender} after event {newest}: twice, or out of order")
        self.numbers[data["connection"]] = max(newest, data["number"])

    def _wrong(self, what: str) -> None:
        self.violations.append(f"{self.user} {what}")


@dataclass
class Written:
    """All values that the tabs of one user have sent, by room and field."""

    values: dict[tuple[str, str], set[Any]] = field(default_factory=lambda: defaultdict(set))
    _count: int = 0

    def next_value(self) -> int:
        self._count += 1
        return self._count

    def has(self, room: str, name: str, value: Any) -> bool:
        return value in self.values[room, name]


@dataclass
class OwnFields:
    """The fields of one tab in its room as it wants them: those that it has set, and others of its user."""

    user: str
    written: Written
    alone: bool
    """The user has no other tab."""
    wanted: Fields = field(default_factory=dict)
    """With None for deleted fields."""
    changed_back: list[tuple[float, str]] = field(default_factory=list)
    """Each field that the server has replaced by an older value, and when that came."""
    violations: list[str] = field(default_factory=list)
    _under_way: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """The values that this connection has sent and that have not come back, the oldest first."""
    _late: dict[tuple[str, str], set[Any]] = field(default_factory=lambda: defaultdict(set))
    """Values of earlier connections or memberships that had not come back, by room and field. They may come late."""

    def set(self, room: str, change: Fields) -> Fields:
        """Return the change to send."""
        self.wanted |= change
        for name, value in change.items():
            self.written.values[room, name].add(value)
            self._under_way[name].append(value)
        return change

    def joined(self, room: str, known: Fields) -> Fields:
        """The server has these fields. Return the change to send, which may be empty."""
        self._check(room, known)
        self.wanted = {**known, **self.wanted}
        return self.set(room, {name: value for name, value in self.wanted.items() if known.get(name) != value})

    def changed(self, room: str, change: Fields, at: float) -> None:
        """Fields of the user have changed, by this tab or another."""
        self._check(room, change)
        for name, value in change.items():
            under_way = self._under_way[name]
            if value in under_way:
                del under_way[: under_way.index(value) + 1]
                if not under_way:  # an older value may have come back in between, from an older store
                    self.wanted[name] = value
            elif self.wanted.get(name) != value:
                if self.alone and value not in self._late[room, name]:
                    self.changed_back.append(
                        (at, f"{name} of {self.user} went back from {self.wanted.get(name)} to {value}")
                    )
                self.wanted[name] = value

    def lost(self, room: str | None) -> None:
        """The connection is lost. The values under way may be stored or not."""
        for name, values in self._under_way.items():
            if room is not None:
                self._late[room, name].update(values)
        self._under_way.clear()

    def left(self, room: str | None) -> None:
        """The user leaves the room, and its fields end."""
        self.lost(room)
        for name, value in self.wanted.items():
            if room is not None:
                self._late[room, name].add(value)
        self.wanted.clear()

    @property
    def shown(self) -> Fields:
        return {name: value for name, value in self.wanted.items() if value is not None}

    def _check(self, room: str, fields: Fields) -> None:
        for name, value in fields.items():
            if value is not None and not self.written.has(room, name, value):
                self.violations.append(f"{self.user} has {name}={value} in {room}, which it never sent there")


def fields_differ(
    views: Mapping[str, tuple[str, Mapping[str, Fields]]],
    stored: Mapping[str, Mapping[Key, Fields]],
    truth: Mapping[Key, Fields | None],
) -> list[str]:
    """All clients and replicas have the same fields of each member, and those that it set last.

    `views`: by client, its room first. `stored`: by replica. `truth`: of every member, and None for one with several
    tabs, whose last change is not known.
    """
    found: dict[Key, dict[str, Fields]] = defaultdict(dict)
    for name, (room, members) in views.items():
        for user, its in members.items():
            found[room, user][name] = its
    for name, entries in stored.items():
        for key, its in entries.items():
            found[key][name] = its
    violations = []
    for (room, user), of in found.items():
        right = truth.get((room, user))
        wanted = next(iter(of.values())) if right is None else right
        violations += [
            f"{name} has the fields {its} of {user} in {room}, and they were set to {wanted}"
            for name, its in of.items()
            if its != wanted
        ]
    return violations


def events_missing(
    last: Mapping[str, tuple[str, str, int]], views: Mapping[str, tuple[str, str, Mapping[str, int]]]
) -> list[str]:
    """The others in the room have the last event with a key that a resting member sent.

    Events of one user with the same key replace each other, also those of several tabs. So the last event of one tab is
    enough. `last`: by connection, its room and user, and the number of its last event. `views`: by client, its room and
    user, and the last number of each connection.
    """
    tabs: dict[Key, dict[str, int]] = defaultdict(dict)
    for connection, (room, sender, number) in last.items():
        tabs[room, sender][connection] = number
    return [
        f"{name} did not get the last event of {sender}, of {ends}, and has {[numbers.get(one, 0) for one in ends]}"
        for (room, sender), ends in tabs.items()
        for name, (its_room, user, numbers) in views.items()
        if its_room == room and user != sender and all(numbers.get(one, 0) != number for one, number in ends.items())
    ]


def late_reversals(own: Iterable[OwnFields], losses: Iterable[float], since: float) -> list[str]:
    """No field went back to an older value, unless NATS had lost its storage before. `since`: when the round began."""
    first = min((loss for loss in losses if loss >= since), default=float("inf"))
    return [what for one in own for at, what in one.changed_back if since <= at < first]
