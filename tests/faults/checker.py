"""The rules for the recorded histories of clients. Pure: it judges only the records."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.chat import (
    Asked,
    Position,
    Stored,
    View,
    deleted,
    deletion_violations,
    existing,
    hole_violations,
    identity_violations,
    order_violations,
    views,
)
from tests.support.roster import memberships

Roster = frozenset[str]


@dataclass(frozen=True)
class Record:
    """The messages of one connection, with the time of each."""

    user: str
    group: int
    gateway: int
    log: list[dict[str, Any]]
    times: list[float]
    opened: float
    closed: float | None
    asked: list[Asked] = field(default_factory=list)
    """Its joins, in order."""
    repeated: frozenset[str] = frozenset()
    """Ids of chat that it sent again."""
    room: str | None = None
    """Where it is at rest."""


@dataclass(frozen=True)
class Tenure:
    """A user was in a room with one connection, without a break, for the whole time."""

    user: str
    room: str
    since: float
    until: float


@dataclass(frozen=True)
class Ghost:
    """A user was lost and stayed away. Others had to receive it within a bound, counted from `due_from`."""

    user: str
    room: str
    lost: float
    due_from: float
    killed: bool = False
    """Its gateway was killed, and nothing else happened."""


@dataclass
class Verdict:
    violations: list[str] = field(default_factory=list)
    ghost_seconds: list[float] = field(default_factory=list)
    killed_ghost_seconds: list[float] = field(default_factory=list)
    """The same for those whose gateway was killed."""


def spelled(records: Iterable[Record], groups: dict[str, int]) -> list[str]:
    """Each client for itself: joined and left in turn, `JoinedRoom` first, nothing of another room.

    `groups`: the group of every user and every room. The groups share neither.
    """
    violations = []
    for record in records:
        try:
            seen = memberships(record.log)
        except AssertionError as error:
            violations.append(f"{record.user}: {error}")
            continue
        violations += [
            f"{record.user} is in a room not its own" for membership in seen if groups[membership.room] != record.group
        ]
        strangers = [user for user in _users_shown(record.log) if groups.get(user) != record.group]
        violations += [f"{record.user} was shown {user}, who was never in its rooms" for user in strangers]
        violations += _strays(record)
    return violations


def _users_shown(log: list[dict[str, Any]]) -> set[str]:
    users = {message["payload"]["user"]["user_id"] for message in log if message["type"] == "UserJoined"}
    for message in log:
        if message["type"] == "JoinedRoom":
            users |= {user["user_id"] for user in message["payload"]["users"]}
    return users


def _strays(record: Record) -> list[str]:
    """Chat names the room it was sent in. Cursors and typing notices do not come back to their own user."""
    room, found = None, []
    for message in record.log:
        if message["type"] == "JoinedRoom":
            room = message["payload"]["room_id"]
        elif message["type"] in {"Chat", "ChatEdited"} and message["payload"]["content"].split(" ", 1)[0] != room:
            found.append(f"{record.user} got chat of another room")
        elif message["type"] in {"CursorUpdate", "TypingStatus"} and message["payload"]["user_id"] == record.user:
            found.append(f"{record.user} got a {message['type']} of its own")
    return found


def false_leaves(records: Iterable[Record], tenures: Iterable[Tenure]) -> list[str]:
    """No client may receive the leave of someone who was there throughout."""
    held = {(tenure.user, tenure.room): tenure for tenure in tenures}
    violations = []
    for record in records:
        for time, room, user in _leaves(record):
            tenure = held.get((user, room))
            if tenure is not None and tenure.since <= time <= tenure.until:
                violations.append(f"{record.user} on gateway {record.gateway} received a false leave of {user}")
    return violations


def _leaves(record: Record) -> list[tuple[float, str, str]]:
    room, found = "", []
    for time, message in zip(record.times, record.log, strict=True):
        if message["type"] == "JoinedRoom":
            room = message["payload"]["room_id"]
        elif message["type"] == "UserLeft":
            found.append((time, room, message["payload"]["user_id"]))
    return found


def ghosts(
    records: Iterable[Record], departures: Iterable[Ghost], bound_seconds: float, excused: frozenset[int]
) -> Verdict:
    """Everyone who had the lost user in the roster receives it in time. `excused` are gateways that were cut off."""
    verdict = Verdict()
    departures = list(departures)
    for record in records:
        if record.gateway in excused:
            continue
        leaves = _leaves(record)
        for ghost in departures:
            received = [time for time, room, user in leaves if (room, user) == (ghost.room, ghost.user)]
            later = [time for time in received if time >= ghost.lost]
            if not later:
                continue  # was not there, or does not know yet: then the rosters at rest differ
            took = later[0] - ghost.due_from
            verdict.ghost_seconds.append(max(0.0, later[0] - ghost.lost))
            if ghost.killed:
                verdict.killed_ghost_seconds.append(verdict.ghost_seconds[-1])
            if took > bound_seconds:
                verdict.violations.append(
                    f"{ghost.user} was shown to {record.user} for {took:.1f} s after the loss, {bound_seconds} allowed"
                )
    return verdict


def at_rest(found: dict[str, Roster], truth: dict[str, Roster], rooms: dict[str, str]) -> list[str]:
    """Differences between the roster of each client (or replica) and the truth.

    `found` by name of the client, `rooms` the room of each, `truth` by room.
    """
    violations = []
    for name, roster in found.items():
        true = truth.get(rooms[name], frozenset())
        if roster != true:
            violations.append(
                f"{name} in {rooms[name]}: ghosts {sorted(roster - true)}, missing {sorted(true - roster)}"
            )
    return violations


# --- chat --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Purge:
    """Chat of a room that was purged or trimmed: everything up to a position. `at`: when that was done."""

    room: str
    up_to: int
    at: float
    all_of_it: bool


@dataclass(frozen=True)
class Erasures:
    """Chat that is no longer stored. `losses`: when NATS lost its storage, or the newest part of it.

    Positions from before a loss, or within `settling_seconds` after it, are void. `deleted`: ids of messages.
    """

    losses: tuple[float, ...] = ()
    settling_seconds: float = 30.0
    purges: tuple[Purge, ...] = ()
    deleted: frozenset[str] = frozenset()

    def of(self, known: Mapping[Position, Mapping[int, Collection[str]]]) -> dict[Position, set[int]]:
        """The positions that may be missing, for each place."""
        found: dict[Position, set[int]] = defaultdict(set)
        for place, lines in known.items():
            up_to = max((purge.up_to for purge in self.purges if purge.room == place[0]), default=0)
            gone = {seq for seq, ids in lines.items() if seq <= up_to or not self.deleted.isdisjoint(ids)}
            if gone:
                found[place] = gone
        return found

    def reset(self, room: str, at: float) -> bool:
        """Whether members of the room may receive a reset at this moment."""
        times = [*self.losses, *(purge.at for purge in self.purges_of(room))]
        return any(time <= at <= time + self.settling_seconds for time in times)

    def refused(self, asked: Asked, epoch: str, at: float) -> bool:
        """Whether a resume may be answered in this epoch with not being recovered."""
        if asked.epoch == epoch:
            return any((asked.since or 0) < purge.up_to for purge in self.purges_of(asked.room))
        return any(asked.known < loss + self.settling_seconds and at >= loss for loss in self.losses)

    def purges_of(self, room: str) -> list[Purge]:
        return [purge for purge in self.purges if purge.room == room]


def known_chat(
    records: Iterable[Record], stored: Stored, epoch: str
) -> tuple[list[View], dict[Position, dict[int, set[str]]]]:
    """The views of clients, and every message that is stored or was seen. `epoch`: the epoch of `stored`."""
    found = [view for record in records for view in _views(record)]
    known = existing(found)
    for room, lines in stored.items():
        for sequence, message in lines.items():
            known[room, epoch][sequence].add(message)
    return found, known


def chat_violations(
    records: Iterable[Record], stored: Stored, epoch: str, erasures: Erasures, changes: Collection[str] = ()
) -> list[str]:
    """Everyone saw every message once and in one order, and nobody received a reset without need.

    `epoch`: the epoch of `stored`. `changes`: ids of the edits and reactions.
    """
    records = list(records)
    found, known = known_chat(records, stored, epoch)
    erased = erasures.of(known)
    first = min((sequence for lines in stored.values() for sequence in lines), default=0)
    violations = order_violations(found) + identity_violations(known)
    violations += hole_violations(found, known, erased, changes_among(known, changes))
    violations += deletion_violations(found) + _not_stored(found, stored, epoch, erased)
    for record in records:
        violations += _wrong_answers(record, erasures, first)
    return violations


def changes_among(
    known: Mapping[Position, Mapping[int, Collection[str]]], changes: Collection[str]
) -> dict[Position, set[int]]:
    """For each place `seq` of the edits and reactions. `changes`: their ids."""
    ids = frozenset(changes)
    return {place: {seq for seq, its in lines.items() if not ids.isdisjoint(its)} for place, lines in known.items()}


def _not_stored(
    found: Iterable[View], stored: Stored, epoch: str, erased: Mapping[Position, Collection[int]]
) -> list[str]:
    """Every message that anyone has seen is in the stream, unless it was deleted."""
    found = list(found)
    gone = deleted(found)
    for place, sequences in erased.items():
        gone[place].update(sequences)
    seen: set[tuple[Position, int]] = {(view.at, sequence) for view in found for sequence, _ in view.lines}
    return [
        f"{sequence} in {room} was seen and is not stored"
        for (room, its_epoch), sequence in seen
        if its_epoch == epoch and sequence not in stored.get(room, {}) and sequence not in gone[room, epoch]
    ]


def _wrong_answers(record: Record, erasures: Erasures, first: int) -> list[str]:
    """`first`: the first position that is stored. A gateway claims nothing about older ones that it cannot prove."""
    violations = []
    for view in _views(record):
        received = record.times[view.begins]
        # So long after a loss the streams are made again, and with each of them positions are void.
        if view.is_reset and not erasures.reset(view.room, received):
            violations.append(f"a client received a reset in {view.room}, and no chat was gone")
        same = view.asked.epoch == view.epoch
        if view.recovered and not same:
            violations.append(f"a position of epoch {view.asked.epoch} was recovered in {view.epoch}")
        too_old = same and (view.asked.since or 0) + 1 < first
        if view.recovered is False and not too_old and not erasures.refused(view.asked, view.epoch, received):
            violations.append(f"after {view.asked.since} in {view.room} nothing was gone, and it was not recovered")
    return violations


def unannounced_losses(records: Iterable[Record], losses: Iterable[float], purges: Iterable[Purge] = ()) -> list[str]:
    """Clients in a room at rest have a position from after its last loss or purge: other positions are void."""
    last = max(losses, default=-math.inf)
    purges = list(purges)
    violations = []
    for record in records:
        for view in _views(record)[-1:]:
            gone = max([last, *(purge.at for purge in purges if purge.room == view.room and purge.all_of_it)])
            if view.room == record.room and record.times[view.begins] < gone:
                violations += [f"{record.user} did not learn that the chat of {view.room} was lost"]
    return violations


def _views(record: Record) -> list[View]:
    return views(record.log, record.asked, record.repeated)


def chat_at_rest(ends: dict[str, tuple[Position, int]], stored: Stored, epoch: str) -> list[str]:
    """Every client in a room has got as far as the stream. `ends`: the position of each client."""
    violations = []
    for name, ((room, its_epoch), end) in ends.items():
        last = max(stored.get(room, {}), default=0)
        if its_epoch != epoch:
            violations.append(f"{name} in {room} knows epoch {its_epoch}, the others {epoch}")
        elif end < last:
            violations.append(f"{name} in {room} has chat up to {end}, the stream up to {last}")
    return violations
