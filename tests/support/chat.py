"""The chat that one client received in its rooms, and the rules that must hold for it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

JOINS_ENDED_BY = {"presence_unavailable", "internal", "busy", "chat_unavailable", "rate_limited", "room_full"}
CHANGES = {"ChatEdited", "ChatReaction"}
"""Entries of the chat that change a message."""
Position = tuple[str, str]
"""A room and an epoch: there, a `seq` names one message."""
Stored = dict[str, dict[int, str]]
"""The messages of the stream: by room, the id of each `seq`."""


@dataclass(frozen=True)
class Asked:
    """A `JoinRoom`, and when the position that it names was known first."""

    room: str
    since: int | None = None
    epoch: str | None = None
    known: float = 0.0


@dataclass
class View:
    """A piece of a room's chat without a hole, as a client saw it."""

    asked: Asked
    room: str
    epoch: str
    start: int | None
    """All messages after it are in the view. None: all after the first, because the history could not be read."""
    recovered: bool | None
    is_reset: bool = False
    """It began without being asked for: what came before may have a hole."""
    begins: int = 0
    """Where in the log."""
    history: int = 0
    """How many messages of the past were announced."""
    last_seq: int | None = None
    """The position after them, as the server sent it."""
    lines: list[tuple[int, str]] = field(default_factory=list)
    """`seq` and `id` of each message, edit and reaction, in the order of arrival."""
    changes: set[int] = field(default_factory=set)
    """`seq` of each edit and reaction."""
    deleted: list[int] = field(default_factory=list)
    """`seq` of each message that the server announced as deleted."""
    shown_deleted: list[int] = field(default_factory=list)
    """Those that came after that announcement."""

    @property
    def end(self) -> int:
        """The position of the client."""
        last = self.lines[-1][0] if self.lines else self.start or 0
        if not self.recovered and len(self.messages) >= self.history:
            last = max(last, self.last_seq or 0)
        return last

    @property
    def messages(self) -> list[int]:
        """`seq` of each message."""
        return [sequence for sequence, _ in self.lines if sequence not in self.changes]

    @property
    def folded_to(self) -> int:
        """Edits and reactions up to this position need not come, because the messages came as they were then."""
        return 0 if self.recovered else self.last_seq or 0

    @property
    def at(self) -> Position:
        return self.room, self.epoch


def ends_join(message: dict[str, Any]) -> bool:
    """An error about a join; those about a message name it."""
    payload = message.get("payload", {})
    return message["type"] == "Error" and payload["code"] in JOINS_ENDED_BY and payload.get("id") is None


def views(log: Iterable[dict[str, Any]], asked: Iterable[Asked], repeated: Iterable[str] = ()) -> list[View]:
    """`asked`: the joins of the connection, which are answered in order. `repeated`: ids that were sent again.

    The answer to a repeated message comes beside the order, and may be the second time that its author sees it.
    """
    requests, again = iter(asked), set(repeated)
    found: list[View] = []
    history = 0
    for index, message in enumerate(log):
        payload = message.get("payload", {})
        if ends_join(message):
            next(requests)
        elif message["type"] == "JoinedRoom":
            request, history = next(requests), payload["history"]
            start = request.since if payload.get("recovered") else payload["last_seq"]
            recovered = payload.get("recovered")
            place = payload["room_id"], payload["epoch"]
            found.append(View(request, *place, start, recovered, begins=index, history=history,
                              last_seq=payload["last_seq"]))  # fmt: skip
        elif message["type"] == "ChatReset":
            history = 0
            room, epoch, start = payload["room_id"], payload["epoch"], payload["last_seq"]
            found.append(View(Asked(room), room, epoch, start, None, is_reset=True, begins=index, last_seq=start))
        elif message["type"] == "Chat":
            view, line = found[-1], (payload["seq"], payload["id"])
            if history > 0 and not view.lines and not view.recovered:
                view.start = payload["seq"] - 1
            if payload["id"] in again and payload["seq"] <= view.end and history <= 0:
                continue
            history -= 1
            view.lines.append(line)
            if payload["seq"] in view.deleted:
                view.shown_deleted.append(payload["seq"])
        elif message["type"] in CHANGES:
            view, line = found[-1], (payload["seq"], payload["id"])
            if payload["id"] in again and payload["seq"] <= view.end and history <= 0:
                continue
            view.lines.append(line)
            view.changes.add(payload["seq"])
        elif message["type"] == "ChatDeleted":
            found[-1].deleted.append(payload["deleted_seq"])
    return found


def order_violations(found: Iterable[View]) -> list[str]:
    """Within a view every message is newer than the one before it."""
    violations = []
    for view in found:
        before = view.start or 0
        for sequence, _ in view.lines:
            if sequence <= before:
                violations.append(f"{sequence} in {view.room} came after {before}: twice, or out of order")
            before = max(before, sequence)
    return violations


def deletion_violations(found: Iterable[View]) -> list[str]:
    """No client sees a message after the announcement that it is deleted."""
    return [
        f"{sequence} in {view.room} came after the announcement that it is deleted"
        for view in found
        for sequence in view.shown_deleted
    ]


def deleted(found: Iterable[View]) -> dict[Position, set[int]]:
    """For each place the messages that were announced to somebody as deleted."""
    known: dict[Position, set[int]] = defaultdict(set)
    for view in found:
        known[view.at].update(view.deleted)
    return known


def existing(found: Iterable[View]) -> dict[Position, dict[int, set[str]]]:
    """For each place the messages that somebody has seen: by `seq`, the ids."""
    known: dict[Position, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for view in found:
        for sequence, message in view.lines:
            known[view.at][sequence].add(message)
    return known


def identity_violations(known: dict[Position, dict[int, set[str]]]) -> list[str]:
    """A `seq` is one message for everyone, and a message was stored once."""
    violations = []
    for (room, _), lines in known.items():
        places: dict[str, set[int]] = defaultdict(set)
        for sequence, messages in lines.items():
            if len(messages) > 1:
                violations.append(f"{sequence} in {room} is another message for some: {sorted(messages)}")
            for message in messages:
                places[message].add(sequence)
        violations += [
            f"{message} in {room} was stored more than once: {sorted(sequences)}"
            for message, sequences in places.items()
            if len(sequences) > 1
        ]
    return violations


def hole_violations(
    found: Iterable[View],
    known: dict[Position, dict[int, set[str]]],
    erased: Mapping[Position, Collection[int]] | None = None,
    changes: Mapping[Position, Collection[int]] | None = None,
) -> list[str]:
    """Between the start and the end of a view nothing is missing that anyone has seen and was not deleted.

    `erased`: messages that may be missing besides. `changes`: the edits and reactions.
    """
    violations = []
    found = list(found)
    gone = deleted(found)
    for place, sequences in (erased or {}).items():
        gone[place].update(sequences)
    for view in found:
        if view.start is None and not view.lines:
            continue
        start = view.start if view.start is not None else view.lines[0][0]
        folded = {one for one in (changes or {}).get(view.at, ()) if one <= view.folded_to}
        present = {sequence for sequence, _ in view.lines} | gone[view.at] | folded
        missing = sorted(one for one in known.get(view.at, {}) if start < one <= view.end and one not in present)
        if missing:
            violations.append(f"{missing} in {view.room} are missing between {start} and {view.end}")
    return violations
