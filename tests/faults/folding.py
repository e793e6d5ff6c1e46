"""The rules for edits, deletions by authors, and reactions. Pure: they judge only what was stored and received."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.stored import Posted
from tests.support.chat import CHANGES


@dataclass(frozen=True)
class Entry:
    """An entry of the chat. `kind`: the type of its message."""

    kind: str
    payload: dict[str, Any]


Entries = Mapping[str, Mapping[int, Entry]]
"""The chat of each room, by `seq`."""


@dataclass(frozen=True)
class Change:
    """An edit or a reaction that somebody asked for. `target`: the id of the message."""

    room: str
    target: str


@dataclass
class Folded:
    """A message as its edits and reactions have made it. `reactions`: the users of each."""

    content: str
    reactions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> "Folded":
        """`message`: the payload of `Chat`, which may be folded in part."""
        found = cls(message["content"])
        for summary in message.get("reactions") or []:
            found.reactions[summary["reaction"]] |= set(summary["user_ids"])
        return found

    def apply(self, kind: str, change: Mapping[str, Any]) -> None:
        if kind == "ChatEdited":
            self.content = change["content"]
        elif change["is_on"]:
            self.reactions[change["reaction"]].add(change["user_id"])
        else:
            self.reactions[change["reaction"]].discard(change["user_id"])

    @property
    def shown(self) -> tuple[str, dict[str, list[str]]]:
        return self.content, {name: sorted(users) for name, users in sorted(self.reactions.items()) if users}


def fold(entries: Iterable[tuple[int, Entry]]) -> dict[int, Folded]:
    """The messages by `seq`. `entries`: in order, each with its `seq`."""
    found: dict[int, Folded] = {}
    for sequence, entry in entries:
        if entry.kind == "Chat":
            found[sequence] = Folded.of(entry.payload)
        elif entry.kind in CHANGES and entry.payload["target_seq"] in found:
            found[entry.payload["target_seq"]].apply(entry.kind, entry.payload)
    return found


def received(log: Sequence[Mapping[str, Any]]) -> dict[int, Folded]:
    """The messages of the room that a client is in, as a client shows them that follows the protocol.

    The answer to a repeated change is a copy, which may come after newer ones.
    """
    lines: list[tuple[int, Entry]] = []
    folded_to = 0
    for message in reversed(log):
        kind, payload = message["type"], message.get("payload", {})
        if kind == "JoinedRoom" and not payload.get("recovered"):
            folded_to = payload["last_seq"] or 0
        if kind in {"JoinedRoom", "ChatReset"}:
            break
        if kind == "Chat" or kind in CHANGES:
            lines.append((payload["seq"], Entry(kind, payload)))
    once = dict(reversed(lines))  # each where it came first
    return fold((seq, entry) for seq, entry in once.items() if entry.kind == "Chat" or seq > folded_to)


def folds_differ(shown: Mapping[str, tuple[str, Mapping[int, Folded]]], entries: Entries) -> list[str]:
    """At rest everyone shows each message as the stream has made it. `shown`: the room and messages of each client."""
    true = {room: fold(sorted(its.items())) for room, its in entries.items()}
    return [
        f"{name} shows {sequence} in {room} as {message.shown}, and it is {true[room][sequence].shown}"
        for name, (room, messages) in shown.items()
        for sequence, message in messages.items()
        if sequence in true.get(room, {}) and message.shown != true[room][sequence].shown
    ]


def edits_after_deletion(erased: Iterable[Posted], entries: Entries) -> list[str]:
    """With a message, its edits are deleted. `erased`: messages of which the deletion was acknowledged."""
    gone = {one.message for one in erased}
    return [
        f"the edit {sequence} of {entry.payload['target_id']} in {room}, which was deleted, is still stored"
        for room, its in entries.items()
        for sequence, entry in its.items()
        if entry.kind == "ChatEdited" and entry.payload["target_id"] in gone
    ]


def with_their_edits(deleted: Collection[str], changes: Mapping[str, Change]) -> frozenset[str]:
    """Ids of deleted messages, and of everything that changes them. `changes`: by their own ids."""
    return frozenset(deleted) | {one for one, change in changes.items() if change.target in deleted}
