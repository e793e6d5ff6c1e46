"""One round: everyone works, faults happen and are mended, everyone rests, and the histories are judged."""

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import nats

from shared.ids import RoomId
from shared.presence import Outcome, RosterReply, RosterRequest
from shared.subjects import presence_roster, shard_of
from tests.faults.actors import Actor
from tests.faults.checker import (
    Ghost,
    Record,
    Roster,
    Tenure,
    at_rest,
    chat_at_rest,
    chat_violations,
    false_leaves,
    ghosts,
    spelled,
    untold_losses,
)
from tests.faults.nemesis import Fault, inject
from tests.faults.system import GIVEN_UP_SECONDS, GONE_SECONDS, System
from tests.support.chat import Position, Stored, views
from tests.support.presence import stored_chat
from tests.support.roster import stays

REST_SECONDS = 30.0
"""Everyone knows the truth this long after the last fault was mended and NATS is well."""
_RECOVERY_SECONDS = 2.0
_WORK_SECONDS = 1.5
_SETTLING_SECONDS = 30.0
"""After NATS has lost its storage the epoch may change more than once, as both streams are made anew."""
_REPLICA_QUESTIONS = 6
"""To a queue group of two: all go to the same one in 3 % of rooms."""


@dataclass
class Round:
    faults: list[Fault]
    violations: list[str] = field(default_factory=list)
    convergence_seconds: float = 0.0
    ghost_seconds: list[float] = field(default_factory=list)
    killed_ghost_seconds: list[float] = field(default_factory=list)
    operations: int = 0
    messages: int = 0
    said: int = 0
    acknowledged: int = 0
    repeated: int = 0
    recovered: int = 0
    not_recovered: int = 0
    chat_seen: int = 0


async def play(system: System, actors: list[Actor], faults: list[Fault]) -> Round:
    """Raises AssertionError when the system does not become healthy or an actor finds no place."""
    outcome = Round(faults)
    await asyncio.gather(*(actor.settle() for actor in actors))
    began = time.monotonic()
    before = _counts(actors)
    resting = asyncio.Event()
    working = [asyncio.create_task(actor.work(resting)) for actor in actors]
    try:
        await asyncio.sleep(_WORK_SECONDS)
        await asyncio.gather(*(inject(fault, system) for fault in faults))
        await system.wait_healthy()
        healthy = time.monotonic()
        await asyncio.sleep(_WORK_SECONDS)
    finally:
        resting.set()
        await asyncio.gather(*working)
    await asyncio.gather(*(actor.settle() for actor in actors))
    outcome.violations += await _rest(system, actors)
    rested = time.monotonic()
    outcome.convergence_seconds = rested - healthy
    for name, count in _counts(actors).items():
        setattr(outcome, name, count - before[name])
    _judge(outcome, actors, began, healthy, rested)
    stored = await stored_chat_of(system)
    _judge_chat(outcome, actors, began, stored, system.losses)
    return outcome


def _counts(actors: list[Actor]) -> dict[str, int]:
    return {
        "operations": sum(actor.operations for actor in actors),
        "said": sum(actor.said for actor in actors),
        "acknowledged": sum(actor.acknowledged for actor in actors),
        "repeated": sum(actor.repeated for actor in actors),
        "recovered": sum(actor.recovered for actor in actors),
        "not_recovered": sum(actor.not_recovered for actor in actors),
    }


async def _rest(system: System, actors: list[Actor]) -> list[str]:
    """What still differs from the truth when the time for it is over; nothing, usually much earlier."""
    deadline = time.monotonic() + REST_SECONDS
    while True:
        differences = _clients_differ(actors)
        if not differences:
            differences = await _replicas_differ(system, actors)
        if not differences:
            differences = chat_at_rest(_ends(actors), await stored_chat_of(system), _epoch(actors))
        if not differences or time.monotonic() > deadline:
            return differences
        await asyncio.sleep(0.1)


def _truth(actors: list[Actor]) -> dict[str, Roster]:
    truth: dict[str, set[str]] = defaultdict(set)
    for actor in actors:
        if actor.room is not None:
            truth[actor.room].add(actor.user)
    return {room: frozenset(users) for room, users in truth.items()}


def _clients_differ(actors: list[Actor]) -> list[str]:
    told, rooms = {}, {}
    for index, actor in enumerate(actors):
        session = actor.session
        if session is None or actor.room is None:
            continue
        name = f"{actor.user} (tab {index}, gateway {session.gateway})"
        try:
            last = stays(session.client.log)[-1]
        except AssertionError as error:
            return [f"{name}: {error}"]
        told[name], rooms[name] = frozenset(last.users), last.room
    return at_rest(told, _truth(actors), rooms)


async def _replicas_differ(system: System, actors: list[Actor]) -> list[str]:
    truth = _truth(actors)
    told, rooms = {}, {}
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
                told[f"{name} {room}"] = frozenset[str](member.user for member in reply.members or [])
                rooms[f"{name} {room}"] = room
    except (TimeoutError, OSError, nats.errors.Error) as error:
        return [f"presence does not answer: {error!r}"]
    finally:
        await connection.close()
    return at_rest(told, truth, rooms)


# --- chat ----------------------------------------------------------------------------------------------


async def stored_chat_of(system: System) -> Stored:
    connection = await system.connect()
    try:
        return await stored_chat(connection)
    finally:
        await connection.close()


def _ends(actors: list[Actor]) -> dict[str, tuple[Position, int]]:
    found = {}
    for index, actor in enumerate(actors):
        session = actor.session
        if session is not None and actor.room is not None:
            last = views(session.client.log, session.asked, session.repeated)[-1]
            found[f"{actor.user} (tab {index}, gateway {session.gateway})"] = last.at, last.end
    return found


def _epoch(actors: list[Actor]) -> str:
    """As most clients know it."""
    epochs = Counter(epoch for (_, epoch), _ in _ends(actors).values())
    return epochs.most_common(1)[0][0] if epochs else ""


# --- judgement ---------------------------------------------------------------------------------------------


def _judge(outcome: Round, actors: list[Actor], began: float, healthy: float, rested: float) -> None:
    records = [record for actor in actors for record in _records(actor, began)]
    groups = {actor.user: actor.group for actor in actors}
    groups |= {room: actor.group for actor in actors for room in actor.rooms}
    outcome.messages = sum(time_ >= began for record in records for time_ in record.times)
    outcome.violations += spelled(records, groups)
    excused = _excused(outcome.faults)
    outcome.violations += false_leaves(records, _tenures(actors, began, rested, excused))
    touched = frozenset(gateway for fault in outcome.faults for gateway in fault.gateways)
    verdict = ghosts(records, _ghosts(outcome.faults, actors, began, healthy), GONE_SECONDS, touched)
    outcome.violations += verdict.violations
    outcome.ghost_seconds, outcome.killed_ghost_seconds = verdict.ghost_seconds, verdict.killed_ghost_seconds


def _judge_chat(outcome: Round, actors: list[Actor], began: float, stored: Stored, losses: list[float]) -> None:
    records = [record for actor in actors for record in _records(actor, began)]
    outcome.violations += chat_violations(records, stored, _epoch(actors), losses, _SETTLING_SECONDS)
    outcome.violations += untold_losses(records, losses)
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
    well = not any(_takes_nats_or_presence(fault) for fault in faults)
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
        if lost.at >= began and tabs.count(actor.user) == 1
    ]


def _excused(faults: list[Fault]) -> frozenset[int]:
    """Gateways that may have been given up: cut off or frozen for longer than lease and guard, all in all."""
    excused = set()
    for gateway in {gateway for fault in faults for gateway in fault.gateways}:
        spans = sorted(
            (fault.delay_seconds, fault.delay_seconds + fault.seconds + _RECOVERY_SECONDS)
            for fault in faults
            if gateway in fault.gateways or _takes_nats(fault)
        )
        if _longest(spans) > GIVEN_UP_SECONDS:
            excused.add(gateway)
    return frozenset(excused)


def _takes_nats(fault: Fault) -> bool:
    return any(word in fault.name for word in ("NATS", "routes", "leader"))


def _takes_nats_or_presence(fault: Fault) -> bool:
    return _takes_nats(fault) or fault.name == "kill all of presence"


def _longest(spans: list[tuple[float, float]]) -> float:
    longest, start, end = 0.0, 0.0, -1.0
    for first, last in spans:
        if first > end:
            start, end = first, last
        end = max(end, last)
        longest = max(longest, end - start)
    return longest
