"""The rules between the stored chat and the chat that clients received. Pure."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.support.chat import CHANGES, Position, Stored, View

HISTORY_ON_JOIN = 50
"""How many messages a newcomer gets."""


@dataclass(frozen=True)
class Newcomer:
    """A view, and whether its client was there long enough to be given all of its history."""

    view: View
    complete: bool


@dataclass
class Newcomers:
    violations: list[str] = field(default_factory=list)
    judged: int = 0


def newcomers(
    found: Iterable[Newcomer],
    known: Mapping[Position, Collection[int]],
    gone: Mapping[Position, Collection[int]],
    changes: Mapping[Position, Collection[int]] | None = None,
) -> Newcomers:
    """A client that joins gets the newest stored messages, or everything that it missed, in order and without a hole.

    `known`: the `seq` of every message that is stored or was seen. `gone`: those that may have been deleted by then.
    `changes`: those that are edits or reactions.
    """
    outcome = Newcomers()
    for newcomer in found:
        view = newcomer.view
        if view.is_reset or view.last_seq is None:
            continue
        given = view.messages[: view.history]
        if len(given) < view.history:
            if newcomer.complete:
                outcome.violations.append(f"{view.history} messages of {view.room} were announced, {len(given)} came")
            continue
        outcome.judged += 1
        messages = set(known.get(view.at, ())) - set((changes or {}).get(view.at, ()))
        outcome.violations += _wrong_history(view, given, messages, set(gone.get(view.at, ())) & messages)
    return outcome


def _wrong_history(view: View, given: list[int], known: Collection[int], gone: Collection[int]) -> list[str]:
    last = view.last_seq or 0
    if any(sequence > last for sequence in given):
        return [f"the history of {view.room} goes up to {given[-1]}, and its position is {last}"]
    if view.recovered:
        floor = view.asked.since or 0
    elif len(given) > HISTORY_ON_JOIN:
        return [f"a newcomer in {view.room} got {len(given)} messages"]
    elif len(given) + sum(one <= last for one in gone) >= HISTORY_ON_JOIN:
        floor = given[0] if given else last
    else:
        floor = 0
    missing = sorted({one for one in known if floor < one <= last} - set(given) - set(gone))
    if missing:
        return [f"{missing} of {view.room} are stored before {last}, and a joiner got {given[:3]}…{given[-1:]} of it"]
    return []


# --- requests of a backend ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Posted:
    """A message that a gateway has acknowledged to have stored, or erased. `at`: when."""

    room: str
    message: str
    at: float


def lost_posts(
    posted: Iterable[Posted],
    stored: Stored,
    deleted: Collection[str],
    voids: Collection[float],
    purged: Collection[str],
) -> list[str]:
    """Acknowledged messages are stored. `voids`: when storage was lost. `purged`: rooms whose chat was purged."""
    last = max(voids, default=-math.inf)
    return [
        f"{post.message} was acknowledged and is not stored in {post.room}"
        for post in posted
        if post.at > last and post.message not in deleted and post.room not in purged
        if post.message not in stored.get(post.room, {}).values()
    ]


def shown_after_deletion(
    erased: Iterable[Posted], found: Iterable[View], stored: Stored, voids: Collection[float], purged: Collection[str]
) -> list[str]:
    """Deleted messages are not stored, and everybody who has them knows that they are gone. `found`: views at rest."""
    last = max(voids, default=-math.inf)
    gone = {one.message: one for one in erased if one.at > last and one.room not in purged}
    violations = [
        f"{message} in {room} was deleted and is still stored"
        for room, lines in stored.items()
        for message in lines.values()
        if message in gone
    ]
    for view in found:
        knows = set(view.deleted)
        violations += [
            f"somebody did not learn that {message} at {sequence} in {view.room} was deleted"
            for sequence, message in view.lines
            if message in gone and sequence not in knows
        ]
    return violations


# --- positions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReceivedPosition:
    """A position that a client received."""

    user: str
    at: float
    place: Position
    position: int


def positions(user: str, log: Iterable[dict[str, Any]], times: Iterable[float]) -> list[ReceivedPosition]:
    found = []
    place = "", ""
    for at, message in zip(times, log, strict=True):
        payload = message.get("payload", {})
        position = None
        if message["type"] in {"JoinedRoom", "ChatReset"}:
            place, position = (payload["room_id"], payload["epoch"]), payload["last_seq"]
        elif message["type"] in {"Chat", "ChatDeleted", *CHANGES}:
            position = payload["seq"]
        if position is not None:
            found.append(ReceivedPosition(user, at, place, position))
    return found


def positions_beyond(
    found: Iterable[ReceivedPosition],
    sent: Mapping[str, float],
    messages: Mapping[Position, Mapping[int, Collection[str]]],
    epoch: str,
    last: int,
) -> list[str]:
    """No client receives a position that the stream had not reached by then.

    `sent`: when each message was sent first, by its id. `last`: the newest position of the stream of `epoch`.
    """
    later: dict[Position, list[tuple[float, int]]] = {}
    for place, lines in messages.items():
        sends = sorted((sent[one], seq) for seq, ids in lines.items() for one in ids if one in sent)
        lowest = math.inf
        for index in range(len(sends) - 1, -1, -1):
            lowest = min(lowest, sends[index][1])
            sends[index] = sends[index][0], int(lowest)
        later[place] = sends
    violations = []
    for received in found:
        if received.place[1] == epoch and received.position > last:
            violations.append(
                f"{received.user} received position {received.position} in {received.place[0]}, and {last} is the last"
            )
            continue
        of_later = _lowest_sent_after(later.get(received.place, []), received.at)
        if of_later is not None and of_later <= received.position:
            violations.append(
                f"{received.user} received position {received.position} in {received.place[0]} "
                f"before {of_later} was sent"
            )
    return violations


def _lowest_sent_after(sends: list[tuple[float, int]], at: float) -> int | None:
    low, high = 0, len(sends)
    while low < high:
        middle = (low + high) // 2
        if sends[middle][0] > at:
            high = middle
        else:
            low = middle + 1
    return sends[low][1] if low < len(sends) else None


# --- everybody sees the same -------------------------------------------------------------------------------


def contents_differ(logs: Iterable[Iterable[dict[str, Any]]]) -> list[str]:
    """A message has one author, one name, one text and one time for everyone. An edited one has another text."""
    first: dict[tuple[str, str, int, bool], tuple[Any, ...]] = {}
    violations = []
    for log in logs:
        room = epoch = ""
        for message in log:
            payload = message.get("payload", {})
            if message["type"] in {"JoinedRoom", "ChatReset"}:
                room, epoch = payload["room_id"], payload["epoch"]
            elif message["type"] == "Chat":
                edited = "edited_at" in payload
                keys = ("id", "user_id", "username", "timestamp", *(() if edited else ("content",)))
                what = tuple(payload.get(key) for key in keys)
                known = first.setdefault((room, epoch, payload["seq"], edited), what)
                if known != what:
                    where = f"{payload['seq']} in {room} ({epoch})"
                    violations.append(f"{where} is {what} to some and something else to others: {known}")
    return violations


def replicas_differ(copies: Mapping[str, Stored]) -> list[str]:
    """Every server has the same messages. `copies`: by the name of the server."""
    names = sorted(copies)
    violations = []
    for one, other in pairwise(names):
        for room in sorted({*copies[one], *copies[other]}):
            mine, others = copies[one].get(room, {}), copies[other].get(room, {})
            apart = sorted(seq for seq in {*mine, *others} if mine.get(seq) != others.get(seq))
            if apart:
                violations.append(f"{one} and {other} have not the same in {room}: {apart[:10]}")
    return violations


def by_place(known: Mapping[Position, Mapping[int, Collection[str]]]) -> dict[Position, set[int]]:
    found: dict[Position, set[int]] = defaultdict(set)
    for place, lines in known.items():
        found[place].update(lines)
    return found
