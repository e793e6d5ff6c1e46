"""One round: everyone works, faults happen and heal, everyone rests, and the histories are judged."""

import asyncio
import inspect
import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import nats

from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.presence import LEASE_SECONDS, Outcome, RosterReply, RosterRequest
from studyroom.shared.contract.subjects import presence_roster, shard_of
from tests.faults.actors import Actor, Session
from tests.faults.checker import (
    Erasures,
    Ghost,
    Record,
    Roster,
    Tenure,
    at_rest,
    changes_among,
    chat_at_rest,
    chat_violations,
    false_leaves,
    ghosts,
    known_chat,
    spelled,
    unannounced_losses,
)
from tests.faults.copies import Copy, NotRead, copy_of
from tests.faults.documents import Desk
from tests.faults.folding import edits_after_deletion, folds_differ, received, with_their_edits
from tests.faults.members import (
    LAG_SECONDS,
    Key,
    Looks,
    Membership,
    Place,
    Troubles,
    Visit,
    avatar_of,
    cursors_differ,
    incomplete_rosters,
    looks_differ,
    movements,
    news_of,
    shown,
    visits,
)
from tests.faults.nemesis import Fault, inject
from tests.faults.refusals import GATEWAY, NATS, PRESENCE, Damage, Refusal, refusals_in, wrong_refusals
from tests.faults.shown_to_members import Fields, events_missing, fields_differ, late_reversals
from tests.faults.stalls import Stall, watched
from tests.faults.stored import (
    Newcomer,
    by_place,
    contents_differ,
    lost_posts,
    newcomers,
    positions,
    positions_beyond,
    replicas_differ,
    shown_after_deletion,
)
from tests.faults.system import GIVEN_UP_SECONDS, GONE_SECONDS, GRACE_SECONDS, GUARD_SECONDS, System
from tests.support.chat import Position, deleted, views
from tests.support.faults import new_faults
from tests.support.roster import memberships
from tests.support.waiting import POLL_SECONDS

REST_SECONDS = 30.0
"""Everyone knows the truth this long after the last fault has healed and NATS is well."""
_RECOVERY_SECONDS = 2.0
_TOLERATED = 2
_UNCONFIRMED_SECONDS = LEASE_SECONDS + GUARD_SECONDS + 3.0
"""Members of whom a new stream knows nothing are shown for lease and guard, until the comparison after that."""
_GRACE_MARGIN_SECONDS = 0.3
"""A user who is back this much before the grace period is over has certainly come back in time."""
_WORK_SECONDS = 1.5
_SETTLING_SECONDS = 30.0
"""After NATS has lost its storage the epoch may change more than once, as both streams are made again."""
_ARRIVAL_SECONDS = 2.0
"""Where nothing is broken, an event arrives within, or those after it do."""
_REPLICA_QUESTIONS = 6
"""Requests to a queue group of two: all go to the same replica in 3 % of rooms."""


@dataclass
class Round:
    faults: list[Fault]
    violations: list[str] = field(default_factory=list)
    convergence_seconds: float = 0.0
    ghost_seconds: list[float] = field(default_factory=list)
    killed_ghost_seconds: list[float] = field(default_factory=list)
    operations: int = 0
    messages: int = 0
    chats_sent: int = 0
    acknowledged: int = 0
    repeated: int = 0
    recovered: int = 0
    not_recovered: int = 0
    chat_seen: int = 0
    judged: Counter[str] = field(default_factory=Counter)
    """How often there was something for a rule to judge."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Refusals by code."""


_FORGETFUL = {"restore an older store of one NATS server", "tear the newest writes of one NATS server"}


async def play(
    system: System,
    actors: list[Actor],
    faults: list[Fault],
    *,
    rest_seconds: float = REST_SECONDS,
    desk: Desk | None = None,
) -> Round:
    """`rest_seconds`: how long everyone has to come to rest. `desk`: the editors of shared documents.

    Raises AssertionError when the system does not become healthy or an actor finds no place.
    """
    async with watched() as stalls:
        return await _play(system, actors, faults, rest_seconds, stalls, desk)


async def _play(
    system: System,
    actors: list[Actor],
    faults: list[Fault],
    rest_seconds: float,
    stalls: list[Stall],
    desk: Desk | None,
) -> Round:
    outcome = Round(faults)
    await _settle(actors, desk)
    began = time.monotonic()
    before, judged = _counts(actors), _received(actors)
    resting = asyncio.Event()
    working = [asyncio.create_task(actor.work(resting)) for actor in actors]
    working += desk.work(resting) if desk is not None else []
    try:
        await asyncio.sleep(_WORK_SECONDS)
        struck = time.monotonic()
        await asyncio.gather(*(inject(fault, system) for fault in faults))
        await system.wait_healthy()
        healthy = time.monotonic()
        if may_lose_tail(faults):
            system.setbacks += [struck, healthy]
        await asyncio.sleep(_WORK_SECONDS)
    finally:
        resting.set()
        await asyncio.gather(*working)
    await _settle(actors, desk)
    outcome.violations += await _rest(system, actors, rest_seconds, desk)
    rested = time.monotonic()
    outcome.convergence_seconds = rested - healthy
    for name, count in _counts(actors).items():
        setattr(outcome, name, count - before[name])
    lost_storage = any(loss >= began for loss in (*system.losses, *system.setbacks))
    _judge(outcome, actors, began, healthy, rested, lost_storage=lost_storage)
    stalls = [stall for stall in stalls if stall.ended >= began and stall.began <= rested]
    outcome.judged["times at which the checker stood still"] += len(stalls)
    damage = _damage(faults, struck, healthy, stalls)
    _judge_movements(outcome, system, actors, began, damage)
    _judge_refusals(outcome, system, actors, began, damage)
    _judge_chat(outcome, actors, began, system, await copies_of(system))
    _judge_events_and_fields(outcome, actors, (*system.losses, *system.setbacks), began)
    if desk is not None:
        outcome.violations += desk.judge([(damage.since, damage.until)] if NATS in damage.takes else [])
        outcome.judged += desk.judged(began)
    outcome.violations += new_faults()
    outcome.judged["events and changes of fields that clients received"] += _received(actors) - judged
    return outcome


async def _settle(actors: list[Actor], desk: Desk | None) -> None:
    await asyncio.gather(*(actor.settle() for actor in actors), *([desk.settle()] if desk is not None else []))


def _counts(actors: list[Actor]) -> dict[str, int]:
    return {
        "operations": sum(actor.operations for actor in actors),
        "chats_sent": sum(actor.chats_sent for actor in actors),
        "acknowledged": sum(actor.acknowledged for actor in actors),
        "repeated": sum(actor.repeated for actor in actors),
        "recovered": sum(actor.recovered for actor in actors),
        "not_recovered": sum(actor.not_recovered for actor in actors),
    }


async def _rest(system: System, actors: list[Actor], rest_seconds: float, desk: Desk | None) -> list[str]:
    """The differences from the truth when the time is over, by all rules. Usually there are none much earlier."""
    deadline = time.monotonic() + rest_seconds
    stored: dict[str, dict[Key, Fields]] = {}
    while True:
        stored.clear()
        rules: list[Callable[[], list[str] | Awaitable[list[str]]]] = [
            lambda: _clients_differ(actors),
            lambda: _replicas_differ(system, actors, stored),
            lambda: _fields_differ(actors, stored),
            lambda: _shown_differently(actors),
            lambda: _chat_differs(system, actors),
            lambda: _last_events_missing(actors),
            *([desk.differences] if desk is not None else []),
        ]
        is_over = time.monotonic() > deadline
        differences: list[str] = []
        for rule in rules:
            if differences and not is_over:
                break
            found = rule()
            differences += await found if inspect.isawaitable(found) else found
        if not differences or is_over:
            return differences
        await asyncio.sleep(0.1)


def _truth(actors: list[Actor]) -> dict[str, Roster]:
    truth: dict[str, set[str]] = defaultdict(set)
    for actor in actors:
        if actor.room is not None:
            truth[actor.room].add(actor.user)
    return {room: frozenset(users) for room, users in truth.items()}


def _clients_differ(actors: list[Actor]) -> list[str]:
    shown, rooms = {}, {}
    for index, actor in enumerate(actors):
        session = actor.session
        if session is None or actor.room is None:
            continue
        name = f"{actor.user} (tab {index}, gateway {session.gateway})"
        try:
            last = memberships(session.client.log)[-1]
        except AssertionError as error:
            return [f"{name}: {error}"]
        shown[name], rooms[name] = frozenset(last.users), last.room
    return at_rest(shown, _truth(actors), rooms)


async def _replicas_differ(system: System, actors: list[Actor], stored: dict[str, dict[Key, Fields]]) -> list[str]:
    """Also put the fields of all members into `stored`, by question."""
    truth = _truth(actors)
    rosters, rooms = {}, {}
    connection = await system.connect()
    try:
        for room in sorted({room for actor in actors for room in actor.rooms}):
            for question in range(_REPLICA_QUESTIONS):
                name = f"presence ({question})"
                subject = presence_roster(shard_of(RoomId(room)))
                answer = await connection.request(subject, RosterRequest(room=RoomId(room)).encode(), timeout=2)
                reply = RosterReply.decode(answer.data)
                if reply.outcome is not Outcome.OK:
                    return [f"presence answers {reply.outcome}"]
                rosters[f"{name} {room}"] = frozenset[str](member.user for member in reply.members or [])
                rooms[f"{name} {room}"] = room
                stored[f"{name} {room}"] = {(room, one.user): one.fields for one in reply.members or []}
    except (TimeoutError, OSError, nats.errors.Error) as error:
        return [f"presence does not answer: {error!r}"]
    finally:
        await connection.close()
    return at_rest(rosters, truth, rooms)


def _in_room(actors: list[Actor]) -> dict[str, tuple[Actor, Session]]:
    """The clients that are in a room, by name."""
    return {
        f"{actor.user} (tab {index}, gateway {actor.session.gateway})": (actor, actor.session)
        for index, actor in enumerate(actors)
        if actor.session is not None and actor.room is not None
    }


def _fields_differ(actors: list[Actor], stored: dict[str, dict[Key, Fields]]) -> list[str]:
    truth: dict[Key, Fields | None] = {}
    views = {}
    for name, (actor, session) in _in_room(actors).items():
        actor.catch_up()
        received = session.received
        views[name] = received.room, dict(received.fields)
        truth[received.room, actor.user] = actor.own.shown if actor.own.alone else None
    return fields_differ(views, stored, truth)


async def _last_events_missing(actors: list[Actor]) -> list[str]:
    """Every member sends events with a key, and then none. The others get the last of them."""
    await asyncio.gather(*(actor.send_events(keyed=True) for actor, _ in _in_room(actors).values()))
    last = {
        session.client.welcome["connection_id"]: (actor.room or "", actor.user, session.events)
        for actor, session in _in_room(actors).values()
    }
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    while True:
        for actor in actors:
            actor.catch_up()
        views = {
            name: (session.received.room, session.received.user, session.received.numbers)
            for name, (_, session) in _in_room(actors).items()
        }
        differences = events_missing(last, views)
        if not differences or time.monotonic() > deadline:
            return differences
        await asyncio.sleep(POLL_SECONDS)


def _shown_differently(actors: list[Actor]) -> list[str]:
    """Names, avatars and cursors, as the clients know them."""
    looks, cursors = {}, {}
    for index, actor in enumerate(actors):
        if actor.session is not None and actor.room is not None:
            name = f"{actor.user} (tab {index}, gateway {actor.session.gateway})"
            its_looks, its_cursors = shown(actor.session.client.log)
            looks[name] = actor.room, its_looks
            cursors[name] = actor.room, actor.user, its_cursors
    differences = looks_differ(looks, _true_looks(actors))
    return differences + cursors_differ(cursors, _true_cursors(actors))


def _true_looks(actors: list[Actor]) -> dict[Key, set[Looks]]:
    """Those of the newest connection; of somebody with two tabs, any that either has had: the last to join counts."""
    found: dict[Key, set[Looks]] = defaultdict(set)
    tabs: dict[str, list[Actor]] = defaultdict(list)
    for actor in actors:
        tabs[actor.user].append(actor)
    for actor in actors:
        if actor.session is not None and actor.room is not None:
            several = [one for tab in tabs[actor.user] for one in tab.sessions]
            sessions = several if len(tabs[actor.user]) > 1 else [actor.session]
            found[actor.room, actor.user] |= {Looks(one.name, avatar_of(one.name)) for one in sessions}
    return found


def _true_cursors(actors: list[Actor]) -> dict[Key, set[Place]]:
    """The cursors of members who have moved since they came in. Any of several tabs may be last, even a closed tab."""
    found: dict[Key, set[Place]] = defaultdict(set)
    unknown = set()
    tabs: dict[str, list[Actor]] = defaultdict(list)
    for actor in actors:
        tabs[actor.user].append(actor)
    for actor in actors:
        if actor.session is not None and actor.room is not None:
            key = actor.room, actor.user
            moved = actor.session.memberships[-1].moved
            if moved is None:
                unknown.add(key)
            else:
                found[key].add(moved)
            if len(tabs[actor.user]) > 1:
                visits = [one for tab in tabs[actor.user] for session in tab.sessions for one in session.memberships]
                found[key] |= {one.moved for one in visits if one.room == actor.room and one.moved is not None}
    return {key: places for key, places in found.items() if key not in unknown}


# --- chat ----------------------------------------------------------------------------------------------


async def _chat_differs(system: System, actors: list[Actor]) -> list[str]:
    try:
        copies = await copies_of(system)
    except NotRead as error:
        return [f"stored chat cannot be read: {error}"]
    differences = replicas_differ({name: copy.stored for name, copy in copies.items()})
    copy = next(iter(copies.values()))
    stored = copy.stored
    differences += chat_at_rest(_ends(actors), stored, _epoch(actors))
    records = [record for actor in actors for record in _records(actor, math.inf)]
    differences += unannounced_losses(records, system.losses, system.purges)
    voids = (*system.losses, *system.setbacks)
    purged = {purge.room for purge in system.purges}
    differences += lost_posts(system.posted.values(), stored, system.deleted, voids, purged)
    shown = {f"{one.user} on gateway {one.gateway}": (one.room, received(one.log)) for one in records if one.room}
    differences += folds_differ(shown, copy.entries)
    last = max(voids, default=-math.inf)
    erased = [one for one in system.erased.values() if one.at > last and one.room not in purged]
    differences += edits_after_deletion(erased, copy.entries)
    at_rest = [views(one.log, one.asked, one.repeated)[-1] for one in records if one.room is not None]
    return differences + shown_after_deletion(system.erased.values(), at_rest, stored, voids, purged)


def may_lose_tail(faults: list[Fault]) -> bool:
    """Whether NATS may lose acknowledged messages: one server forgets them while another has a fault.

    With three servers, the one that forgets and one that lags are a majority, which may elect a leader without them.
    """
    of_nats = [fault for fault in faults if NATS in fault.takes]
    return len(of_nats) > 1 and any(fault.name in _FORGETFUL for fault in of_nats)


def _erasures(system: System) -> Erasures:
    losses = (*system.losses, *system.setbacks)
    deleted = with_their_edits(system.deleted, system.changes)
    return Erasures(losses, _SETTLING_SECONDS, tuple(system.purges), deleted)


async def copies_of(system: System) -> dict[str, Copy]:
    """The copies by the name of the server. Raises NotRead."""
    copies = await asyncio.gather(*(copy_of(node) for node in system.nodes))
    return {node.name: copy for node, copy in zip(system.nodes, copies, strict=True)}


def _ends(actors: list[Actor]) -> dict[str, tuple[Position, int]]:
    found = {}
    for index, actor in enumerate(actors):
        session = actor.session
        if session is not None and actor.room is not None:
            last = views(session.client.log, session.asked, session.repeated)[-1]
            found[f"{actor.user} (tab {index}, gateway {session.gateway})"] = last.at, last.end
    return found


def _epoch(actors: list[Actor]) -> str:
    """The epoch that most clients know."""
    epochs = Counter(epoch for (_, epoch), _ in _ends(actors).values())
    return epochs.most_common(1)[0][0] if epochs else ""


# --- judgement ---------------------------------------------------------------------------------------------


def _judge(
    outcome: Round, actors: list[Actor], began: float, healthy: float, rested: float, *, lost_storage: bool
) -> None:
    records = [record for actor in actors for record in _records(actor, began)]
    groups = {actor.user: actor.group for actor in actors}
    groups |= {room: actor.group for actor in actors for room in actor.rooms}
    outcome.messages = sum(time_ >= began for record in records for time_ in record.times)
    outcome.violations += spelled(records, groups)
    excused = _excused(outcome.faults)
    outcome.violations += false_leaves(records, _tenures(actors, began, rested, excused))
    touched = frozenset(gateway for fault in outcome.faults for gateway in fault.gateways)
    bound = _UNCONFIRMED_SECONDS if lost_storage else GONE_SECONDS
    verdict = ghosts(records, _ghosts(outcome.faults, actors, began, healthy), bound, touched)
    outcome.violations += verdict.violations
    outcome.ghost_seconds, outcome.killed_ghost_seconds = verdict.ghost_seconds, verdict.killed_ghost_seconds


def _received(actors: list[Actor]) -> int:
    return sum(session.received.judged for actor in actors for session in actor.sessions)


def _judge_events_and_fields(outcome: Round, actors: list[Actor], losses: Iterable[float], began: float) -> None:
    """`losses`: when NATS lost what it had stored."""
    for actor in actors:
        for session in actor.sessions:
            outcome.violations += session.received.violations
            session.received.violations.clear()
        outcome.violations += actor.own.violations
        actor.own.violations.clear()
    outcome.violations += late_reversals((actor.own for actor in actors), losses, began)


def _judge_movements(outcome: Round, system: System, actors: list[Actor], began: float, damage: Damage) -> None:
    every = [one for actor in actors for session in actor.sessions for one in session.memberships]
    mine = [one for one in every if one.ended is None or one.ended >= began]
    faults = outcome.faults
    late_seconds = damage.until - began if damage.takes else LAG_SECONDS
    of = visits(mine, GRACE_SECONDS - _GRACE_MARGIN_SECONDS, late_seconds)
    troubles = Troubles(
        began,
        damage.until,
        len(faults),
        frozenset(gateway for fault in faults for gateway in fault.gateways),
        _excused(faults),
        bool({NATS, PRESENCE} & damage.takes) or any("presence" in fault.name for fault in faults),
        tuple(loss for loss in (*system.losses, *system.setbacks) if loss >= began),
    )
    news = [
        one
        for actor in actors
        for session in actor.sessions
        for one in news_of(actor.user, session.gateway, session.client.log, session.client.times, session.answered)
        if one.at >= began
    ]
    found = movements(news, of, GONE_SECONDS, troubles)
    outcome.violations += found.violations + incomplete_rosters(news, of, troubles, _SETTLING_SECONDS)
    outcome.judged["members whose coming and going somebody received"] += found.judged
    outcome.judged["lost connections that were back within the grace period"] += _kept_places(mine, of)


def _kept_places(mine: list[Membership], of: dict[Key, list[Visit]]) -> int:
    lost = Counter((one.user, one.room) for one in mine if one.ended is not None and not one.clean and one.entered)
    gone = Counter(key for key, its in of.items() for visit in its if visit.until is not None and not visit.clean)
    return sum((lost - gone).values())


def _may_be_missing(refusal: Refusal, system: System) -> bool:
    """Whether a change was refused because its message may be gone."""
    if refusal.what != "chat_not_found" or refusal.about is None:
        return False
    change = system.changes.get(refusal.about)
    gone = {refusal.about, change.target if change else ""} & system.deleted
    purged = change is not None and any(purge.room == change.room for purge in system.purges)
    return bool(gone) or purged or bool(system.losses or system.setbacks)


def _damage(faults: list[Fault], struck: float, healthy: float, stalls: list[Stall]) -> Damage:
    """Return the parts that do not work meanwhile. `stalls`: of the checker, which then carries no messages of NATS."""
    gateways = frozenset(gateway for fault in faults for gateway in fault.gateways)
    takes = frozenset[str]().union(*(fault.takes for fault in faults))
    if stalls:
        takes |= {NATS}
        struck = min(struck, *(stall.began for stall in stalls))
        healthy = max(healthy, *(stall.ended for stall in stalls))
    return Damage(struck, healthy, takes | ({GATEWAY} if gateways else set()), gateways)


def _judge_refusals(outcome: Round, system: System, actors: list[Actor], began: float, damage: Damage) -> None:
    found = [
        refusal
        for actor in actors
        for session in actor.sessions
        if session.closed is None or session.closed >= began
        for refusal in refusals_in(
            actor.user, session.gateway, session.client.log, session.client.times, asked=session.asked,
            closed=actor.refused(session),
        )
    ]  # fmt: skip
    found = [refusal for refusal in found if refusal.at >= began]
    found += [refusal for actor in actors for refusal in actor.refusals if refusal.at >= began]
    outcome.refusals.update(refusal.what for refusal in found)
    found = [refusal for refusal in found if not _may_be_missing(refusal, system)]
    outcome.violations += wrong_refusals(found, damage, tolerated=_TOLERATED)
    moved = [session for actor in actors for session in actor.sessions if actor.asked_to_move(session)]
    outcome.judged["connections that were asked to come back"] += sum((one.closed or began) >= began for one in moved)


def _judge_newcomers(
    outcome: Round,
    records: list[Record],
    began: float,
    known: dict[Position, set[int]],
    gone: dict[Position, set[int]],
    changes: dict[Position, set[int]],
) -> None:
    found = []
    for record in records:
        its = views(record.log, record.asked, record.repeated)
        for index, view in enumerate(its):
            complete = record.room == view.room and index == len(its) - 1
            if record.times[view.begins] >= began:
                found.append(Newcomer(view, complete))
    verdict = newcomers(found, known, gone, changes)
    outcome.violations += verdict.violations
    outcome.judged["histories that joiners were given"] += verdict.judged


def _judge_chat(outcome: Round, actors: list[Actor], began: float, system: System, copies: dict[str, Copy]) -> None:
    records = [record for actor in actors for record in _records(actor, began)]
    epoch = _epoch(actors)
    copy = next(iter(copies.values()))
    erasures = _erasures(system)
    outcome.violations += chat_violations(records, copy.stored, epoch, erasures, system.changes)
    found, known = known_chat(records, copy.stored, epoch)
    changes = changes_among(known, system.changes)
    gone = deleted(found)
    for place, sequences in erasures.of(known).items():
        gone[place].update(sequences)
    outcome.judged["edits and reactions that clients received"] += sum(len(view.changes) for view in found)
    _judge_newcomers(outcome, records, began, by_place(known), gone, changes)
    sent = {message: at for actor in actors for session in actor.sessions for message, at in session.sent.items()}
    received = [one for record in records for one in positions(record.user, record.log, record.times)]
    outcome.violations += positions_beyond(received, sent, known, epoch, copy.last)
    outcome.violations += contents_differ(record.log for record in records)
    outcome.judged["positions that clients received"] += len(received)
    outcome.chat_seen = sum(
        message["type"] == "Chat" and at >= began
        for record in records
        for at, message in zip(record.times, record.log, strict=True)
    )


def _records(actor: Actor, since: float) -> list[Record]:
    return [
        Record(
            actor.user, actor.group, session.gateway, session.client.log, session.client.times, session.opened,
            session.closed, session.asked, frozenset(session.repeated),
            actor.room if session is actor.session else None,
        )
        for session in actor.sessions
        if session.closed is None or session.closed >= since
    ]  # fmt: skip


def _tenures(actors: list[Actor], began: float, rested: float, excused: frozenset[int]) -> list[Tenure]:
    found = []
    for actor in actors:
        session = actor.session
        if not actor.steady or actor.wanted is None or session is None:
            continue
        if session.opened < began and session.gateway not in excused:
            found.append(Tenure(actor.user, actor.wanted, began, rested))
    return found


def _ghosts(faults: list[Fault], actors: list[Actor], began: float, healthy: float) -> list[Ghost]:
    only_gateways_died = all(fault.ends_gateway for fault in faults)
    struck = {gateway for fault in faults for gateway in fault.gateways}
    # While NATS and presence are there, only a gateway that comes back may bring a member back for a moment: requests
    # that were on their way when it was cut off are carried out then.
    returns = {gateway for fault in faults for gateway in fault.gateways if not fault.ends_gateway}
    well = not any({NATS, PRESENCE} & fault.takes for fault in faults)
    tabs = [actor.user for actor in actors]
    return [
        Ghost(
            lost.user,
            lost.room,
            lost.at,
            lost.at if well and lost.gateway not in returns else max(lost.at, healthy),
            killed=only_gateways_died and not lost.dropped and lost.gateway in struck,
        )
        for actor in actors
        for lost in actor.departures
        if lost.at >= began and tabs.count(actor.user) == 1 and not lost.asked_to_wait
    ]


def _excused(faults: list[Fault]) -> frozenset[int]:
    """Gateways that may have been given up: cut off or frozen for longer than lease and guard, all in all."""
    excused = set()
    for gateway in {gateway for fault in faults for gateway in fault.gateways}:
        spans = sorted(
            (fault.delay_seconds, fault.delay_seconds + fault.seconds + _RECOVERY_SECONDS)
            for fault in faults
            if gateway in fault.gateways or NATS in fault.takes
        )
        if _longest(spans) > GIVEN_UP_SECONDS:
            excused.add(gateway)
    return frozenset(excused)


def _longest(spans: list[tuple[float, float]]) -> float:
    longest, start, end = 0.0, 0.0, -1.0
    for first, last in spans:
        if first > end:
            start, end = first, last
        end = max(end, last)
        longest = max(longest, end - start)
    return longest
