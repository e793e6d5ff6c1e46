"""The rules for the members that clients see: their joins and leaves, and their looks. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

LAG_SECONDS = 2.0
"""News of a change are at most so old while nothing is broken."""


class Place(NamedTuple):
    """A cursor."""

    x: float
    y: float


class Looks(NamedTuple):
    username: str
    avatar_url: str | None


def avatar_of(name: str) -> str:
    return f"https://example.org/{name.replace(' ', '-')}.png"


@dataclass
class Membership:
    """A connection of a user in a room. Times are monotonic seconds, as its client knows them."""

    user: str
    room: str
    gateway: int
    asked: float
    entered: float | None = None
    """When `JoinedRoom` came; None when none did."""
    ended: float | None = None
    clean: bool = False
    """It ended with a leave or a close. Otherwise the connection was lost, or the join was refused."""
    moved: Place | None = None
    """The last cursor that it sent."""


@dataclass
class Visit:
    """A user was in a room, with any connections, and no client may see a leave meanwhile."""

    since: float
    entered: float | None
    until: float | None
    clean: bool
    gateways: set[int]
    left: float = -math.inf
    """When a connection of it ended cleanly the last time."""

    def goes_on_with(self, membership: Membership, grace_seconds: float, late_seconds: float) -> bool:
        """The user cannot have been absent between the two: it was in time."""
        if membership.entered is None:
            return False
        if self.until is None or membership.entered <= self.until:
            return True
        # A leave of another connection may be carried out after the loss, and then that is how the user went.
        keeps_place = not self.clean and self.entered is not None and self.left < self.until - late_seconds
        return keeps_place and membership.entered <= self.until + grace_seconds


def visits(
    memberships: Iterable[Membership], grace_seconds: float, late_seconds: float = LAG_SECONDS
) -> dict[tuple[str, str], list[Visit]]:
    """Visits by user and room. A user who came back within the grace period, or had another tab there, was never away.

    `late_seconds`: how much later than others a leave may be carried out.
    """
    found: dict[tuple[str, str], list[Visit]] = defaultdict(list)
    for one in sorted(map(_without_late_answer, memberships), key=lambda one: one.asked):
        of_user = found[one.user, one.room]
        last = of_user[-1] if of_user else None
        if last is not None and last.goes_on_with(one, grace_seconds, late_seconds):
            last.gateways.add(one.gateway)
            if last.until is not None and (one.ended is None or one.ended >= last.until):
                last.until, last.clean = one.ended, one.clean
        else:
            before = last.left if last is not None else -math.inf
            last = Visit(one.asked, one.entered, one.ended, one.clean, {one.gateway}, before)
            of_user.append(last)
        if one.ended is not None and one.clean:
            last.left = max(last.left, one.ended)
    return found


def _without_late_answer(one: Membership) -> Membership:
    """A join that was answered when its client was gone again does not show when it was there."""
    if one.entered is not None and one.ended is not None and one.entered > one.ended:
        return replace(one, entered=None)
    return one


@dataclass(frozen=True)
class Troubles:
    """Excuses for news that are late or come twice, in the time from `since` to `until`.

    `gateways`: those that were frozen or cut off. `given_up`: those of them that may have been taken for dead.
    `bus`: NATS or presence was away. `losses`: how often NATS lost what it had stored.
    """

    since: float
    until: float
    faults: int = 0
    gateways: frozenset[int] = frozenset()
    given_up: frozenset[int] = frozenset()
    bus: bool = False
    losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class News:
    """The news that one connection received of one user between two `JoinedRoom`."""

    observer: str
    gateway: int
    room: str
    user: str
    asked: float
    at: float
    """When `JoinedRoom` came."""
    in_roster: bool
    joined: tuple[float, ...] = ()
    left: tuple[float, ...] = ()


def news_of(
    observer: str, gateway: int, log: list[dict[str, Any]], times: list[float], asked: list[float]
) -> list[News]:
    """`asked`: when each `JoinRoom` of the connection was sent that was answered by `JoinedRoom`."""
    found: list[News] = []
    requests = iter(asked)
    here: dict[str, tuple[bool, list[float], list[float]]] = {}
    room, since, at = "", 0.0, 0.0

    def close() -> None:
        found.extend(
            News(observer, gateway, room, user, since, at, in_roster, tuple(joined), tuple(left))
            for user, (in_roster, joined, left) in here.items()
        )

    for time, message in zip(times, log, strict=True):
        payload = message.get("payload", {})
        if message["type"] == "JoinedRoom":
            close()
            room, since, at = payload["room_id"], next(requests, time), time
            here = {user["user_id"]: (True, [], []) for user in payload["users"]}
        elif message["type"] == "UserJoined":
            here.setdefault(payload["user"]["user_id"], (False, [], []))[1].append(time)
        elif message["type"] == "UserLeft":
            here.setdefault(payload["user_id"], (False, [], []))[2].append(time)
    close()
    return found


@dataclass
class Movements:
    violations: list[str] = field(default_factory=list)
    judged: int = 0


def movements(
    news: Iterable[News], of: Mapping[tuple[str, str], list[Visit]], gone_seconds: float, troubles: Troubles
) -> Movements:
    """Nobody comes more often than they came, nor goes more often than they went.

    A user's visits bound both. So who came back within the grace period must not have left for anybody.
    """
    outcome = Movements()
    for one in news:
        if one.user == one.observer:
            continue
        seen = [
            visit for visit in of.get((one.user, one.room), []) if _can_be_shown(visit, one, gone_seconds, troubles)
        ]
        last = max((*one.joined, *one.left), default=one.at)
        if _is_excused(seen, troubles, last, gone_seconds):
            continue
        excuses = len(troubles.losses)
        outcome.judged += 1
        joins = len(one.joined) + one.in_roster
        ends = [visit for visit in seen if visit.until is not None]
        if joins > len([visit for visit in seen if visit.since <= last]) + excuses:
            outcome.violations.append(
                f"{one.observer} on gateway {one.gateway} was shown that {one.user} came {joins} times, "
                f"who came {len(seen)} times"
            )
        if len(one.left) > len(ends) + excuses:
            outcome.violations.append(
                f"{one.observer} on gateway {one.gateway} received {len(one.left)} times that {one.user} left, "
                f"who went {len(ends)} times"
            )
    return outcome


def _can_be_shown(visit: Visit, one: News, gone_seconds: float, troubles: Troubles) -> bool:
    """Whether the visit can be in the roster or the news after it."""
    if visit.until is None:
        return True
    lag = LAG_SECONDS if visit.clean else gone_seconds
    broken = troubles.faults and visit.until <= troubles.until and one.at >= troubles.since
    return bool(broken) or visit.until + lag >= one.asked


def _is_excused(seen: list[Visit], troubles: Troubles, last: float, gone_seconds: float) -> bool:
    """Nothing is certain about this user. `last`: the time of the last news of it."""
    gateways = set[int]().union(*(visit.gateways for visit in seen))
    if gateways & troubles.given_up:
        return True
    ended = any(visit.until is not None or visit.entered is None for visit in seen)
    # Requests under way when something broke are carried out afterwards, each attempt of them, and taken back.
    late = troubles.bus or gateways & troubles.gateways
    return bool(ended and late and troubles.since <= last <= troubles.until + gone_seconds)


def incomplete_rosters(
    news: Iterable[News], of: Mapping[tuple[str, str], list[Visit]], troubles: Troubles, settling_seconds: float
) -> list[str]:
    """A roster contains everybody who was there before the request for it, and still is."""
    rosters: dict[tuple[str, int, str, float], set[str]] = defaultdict(set)
    for one in news:
        users = rosters[one.observer, one.gateway, one.room, one.at]
        if one.in_roster:
            users.add(one.user)
    asked = {(one.observer, one.gateway, one.room, one.at): one.asked for one in news}
    by_room: dict[str, list[tuple[str, Visit]]] = defaultdict(list)
    for (user, room), its in of.items():
        by_room[room] += [(user, visit) for visit in its]
    violations = []
    for key, users in rosters.items():
        observer, gateway, room, at = key
        if any(loss <= at <= loss + settling_seconds for loss in troubles.losses):
            continue
        for user, visit in by_room[room]:
            there = visit.entered is not None and visit.entered <= asked[key]
            stays = visit.until is None or visit.until > at
            if there and stays and user not in users and not visit.gateways & troubles.given_up:
                violations.append(f"{observer} on gateway {gateway} got a roster without {user}, who was there")
    return violations


# --- at rest -----------------------------------------------------------------------------------------------


def shown(log: Iterable[dict[str, Any]]) -> tuple[dict[str, Looks], dict[str, Place | None]]:
    """How the members look to a client, and where their cursors are, by the messages in its present room."""
    looks: dict[str, Looks] = {}
    cursors: dict[str, Place | None] = {}

    def show(user: dict[str, Any]) -> None:
        looks[user["user_id"]] = Looks(user.get("username", ""), user.get("avatar_url"))

    def place(user: dict[str, Any]) -> Place | None:
        cursor = user.get("cursor")
        return Place(cursor["x"], cursor["y"]) if cursor else None

    for message in log:
        payload = message.get("payload", {})
        match message["type"]:
            case "JoinedRoom":
                looks.clear()
                cursors.clear()
                for user in payload["users"]:
                    show(user)
                    cursors[user["user_id"]] = place(user)
            case "UserJoined":
                show(payload["user"])
                cursors[payload["user"]["user_id"]] = place(payload["user"])
            case "UserUpdated":
                show(payload["user"])
            case "UserLeft":
                looks.pop(payload["user_id"], None)
                cursors.pop(payload["user_id"], None)
            case "CursorUpdate":
                cursors[payload["user_id"]] = Place(payload["x"], payload["y"])
            case _:
                pass
    return looks, cursors


Key = tuple[str, str]
"""A room and a user."""


def looks_differ(views: Mapping[str, tuple[str, dict[str, Looks]]], truth: Mapping[Key, set[Looks]]) -> list[str]:
    """Names and avatars are those of the users' tokens, and the same for all. `views`: by client, its room first."""
    violations = []
    seen: dict[Key, set[Looks]] = defaultdict(set)
    for name, (room, looks) in views.items():
        for user, its in looks.items():
            seen[room, user].add(its)
            right = truth.get((room, user))
            if right and its not in right:
                violations.append(f"{name} is shown {user} as {its}, who is {sorted(right)}")
    violations += [
        f"{user} in {room} is shown in several ways: {sorted(several)}"
        for (room, user), several in seen.items()
        if len(several) > 1
    ]
    return violations


def cursors_differ(
    views: Mapping[str, tuple[str, str, dict[str, Place | None]]], truth: Mapping[Key, set[Place]]
) -> list[str]:
    """The others have the last cursor that a user sent. `views`: by client, its room and user first.

    `truth` has the users whose last cursor is known, with several where it may be any of them.
    """
    return [
        f"{name} sees the cursor of {user} at {place}, and it was moved to {sorted(truth[room, user])}"
        for name, (room, own, cursors) in views.items()
        for user, place in cursors.items()
        if user != own and (room, user) in truth and place not in truth[room, user]
    ]
