"""The checker can fail: each of its rules on a history that breaks it, and the whole on a gateway that is broken."""

import asyncio
import random
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.faults.actors import Crowd, crowd
from tests.faults.checker import (
    Erasures,
    Ghost,
    Record,
    Tenure,
    at_rest,
    chat_at_rest,
    chat_violations,
    false_leaves,
    ghosts,
    spelled,
    unannounced_losses,
)
from tests.faults.nemesis import Fault, draw
from tests.faults.rounds import may_lose_tail, play
from tests.faults.system import GATEWAYS, REPLICAS, System, running_system
from tests.support.chat import Asked
from tests.support.processes import ServiceProcess

ADA, BEN, STRANGER, ROOM, ELSEWHERE = "ada", "ben", "stranger", "room", "elsewhere"
GROUPS = {ADA: 0, BEN: 0, ROOM: 0, STRANGER: 1, ELSEWHERE: 1}
WITHOUT_GAP_CHECK = Path(__file__).parent / "without_gap_check.py"
BROKEN = Path(__file__).parent / "broken.py"
WITHOUT_ANNOUNCEMENT = Path(__file__).parent / "without_announcement.py"

pytestmark = pytest.mark.faulty


def joined_room(room: str, *users: str) -> dict[str, Any]:
    return {"type": "JoinedRoom", "payload": {"room_id": room, "users": [{"user_id": user} for user in users]}}


def joined(user: str) -> dict[str, Any]:
    return {"type": "UserJoined", "payload": {"user": {"user_id": user}}}


def left(user: str) -> dict[str, Any]:
    return {"type": "UserLeft", "payload": {"user_id": user}}


def chat(room: str) -> dict[str, Any]:
    return {"type": "Chat", "payload": {"content": f"{room} says someone", "seq": 1}}


def cursor(user: str) -> dict[str, Any]:
    return {"type": "CursorUpdate", "payload": {"user_id": user, "x": 0.5, "y": 0.5}}


def typing(user: str) -> dict[str, Any]:
    return {"type": "TypingStatus", "payload": {"user_id": user, "is_typing": True}}


def record(*log: dict[str, Any], user: str = ADA, gateway: int = 0) -> Record:
    """A message each second."""
    return Record(user, 0, gateway, list(log), [float(second) for second in range(len(log))], 0.0, None)


def test_a_right_history_has_no_violations():
    fine = record(joined_room(ROOM, ADA), joined(BEN), cursor(BEN), chat(ROOM), left(BEN), joined(BEN), typing(BEN))
    assert spelled([fine], GROUPS) == []


@pytest.mark.parametrize(
    "log",
    [
        [joined(BEN)],
        [joined_room(ROOM, ADA), joined(ADA)],
        [joined_room(ROOM, ADA), left(BEN)],
        [joined_room(ROOM, ADA, ADA)],
        [joined_room(ELSEWHERE, ADA)],
        [joined_room(ROOM, ADA), joined(STRANGER)],
        [joined_room(ROOM, ADA, STRANGER)],
        [joined_room(ROOM, ADA), chat(ELSEWHERE)],
        [chat(ROOM)],
        [cursor(BEN)],
        [joined_room(ROOM, ADA), cursor(BEN)],
        [joined_room(ROOM, ADA, BEN), left(BEN), cursor(BEN)],
        [joined_room(ROOM, ADA), typing(BEN)],
        [joined_room(ROOM, ADA), cursor(ADA)],
    ],
    ids=[
        *("event first", "joined twice", "left twice", "twice in a roster", "wrong room", "stranger joins"),
        *("stranger in roster", "chat of elsewhere", "chat first"),
        *("cursor first", "cursor of a stranger", "cursor of one who left", "typing of a stranger", "own cursor"),
    ],
)
def test_a_history_that_breaks_the_protocol_is_a_violation(log: list[dict[str, Any]]):
    assert spelled([record(*log)], GROUPS)


def test_a_leave_is_a_violation_only_for_a_user_who_stayed():
    history = record(joined_room(ROOM, ADA, BEN), left(BEN))
    assert false_leaves([history], [Tenure(BEN, ROOM, 0.0, 5.0)])
    assert false_leaves([history], [Tenure(BEN, ROOM, 2.0, 5.0), Tenure(BEN, ELSEWHERE, 0.0, 5.0)]) == []


def test_a_ghost_that_is_shown_for_too_long_is_a_violation():
    history = record(joined_room(ROOM, ADA, BEN), chat(ROOM), chat(ROOM), left(BEN), gateway=2)
    lost = Ghost(BEN, ROOM, lost=0.5, due_from=1.0)
    verdict = ghosts([history], [lost], 1.5, frozenset())
    assert verdict.violations
    assert verdict.ghost_seconds == [2.5]
    assert ghosts([history], [lost], 2.5, frozenset()).violations == []
    assert ghosts([history], [lost], 1.5, frozenset({2})).violations == []


def test_a_roster_that_is_not_the_truth_is_a_violation():
    rooms, truth = {"a client": ROOM}, {ROOM: frozenset({ADA})}
    assert at_rest({"a client": frozenset({ADA})}, truth, rooms) == []
    assert at_rest({"a client": frozenset({ADA, BEN})}, truth, rooms)
    assert at_rest({"a client": frozenset()}, truth, rooms)
    assert at_rest({"a client": frozenset({ADA})}, {}, rooms)


# --- chat --------------------------------------------------------------------------------------------------


def entered(history: int = 0, *, last: int = 0, epoch: str = "e", recovered: bool | None = None) -> dict[str, Any]:
    payload: dict[str, Any] = {"room_id": ROOM, "users": [], "epoch": epoch, "history": history, "last_seq": last}
    return {"type": "JoinedRoom", "payload": payload if recovered is None else payload | {"recovered": recovered}}


def line(sequence: int, message: str = "") -> dict[str, Any]:
    return {"type": "Chat", "payload": {"seq": sequence, "id": message or f"m{sequence}"}}


def reset(last: int, epoch: str) -> dict[str, Any]:
    return {"type": "ChatReset", "payload": {"room_id": ROOM, "epoch": epoch, "last_seq": last}}


STORED = {ROOM: {sequence: f"m{sequence}" for sequence in (1, 2, 5, 7, 9)}}


def recorded(*log: dict[str, Any], asked: Asked | None = None, again: str = "") -> Record:
    """A message each second from 110 on."""
    times = [110.0 + second for second in range(len(log))]
    return Record(ADA, 0, 0, list(log), times, 0.0, None, [asked or Asked(ROOM)], frozenset({again}), ROOM)


def judged(
    *log: dict[str, Any], asked: Asked | None = None, again: str = "", losses: tuple[float, ...] = ()
) -> list[str]:
    return chat_violations([recorded(*log, asked=asked, again=again)], STORED, "e", Erasures(losses))


def since(sequence: int, epoch: str = "e") -> Asked:
    return Asked(ROOM, sequence, epoch, known=100.0)


@pytest.mark.parametrize(
    "log",
    [
        [entered(last=2), line(5), line(7)],
        [entered(2, last=5), line(2), line(5), line(7), line(9)],
        [entered(last=2), line(5), line(7), line(5, "m5")],
        [entered(last=2), line(5), reset(7, "e"), line(9)],
    ],
    ids=["live", "history and live", "an answer to a repetition", "after a reset"],
)
def test_right_chat_has_no_violations(log: list[dict[str, Any]]):
    assert judged(*log, again="m5", losses=(111.0,)) == []


@pytest.mark.parametrize(
    "log",
    [
        [entered(last=2), line(5), line(9)],
        [entered(last=2), line(7)],
        [entered(2, last=5), line(2), line(5), line(9)],
        [entered(last=2), line(5), line(5)],
        [entered(last=5), line(7), line(5)],
        [entered(last=5), line(5)],
        [entered(last=2), line(5, "other")],
        [entered(last=2), line(5), line(6, "m5")],
        [entered(last=9), line(10)],
        [entered(last=2), line(5), reset(5, "e"), line(9)],
    ],
    ids=[
        *("a hole", "a hole at the seam", "a hole after history", "twice", "out of order", "before the position"),
        *("another message", "stored twice", "not stored", "a hole after a reset"),
    ],
)
def test_chat_that_is_lost_doubled_or_reordered_is_a_violation(log: list[dict[str, Any]]):
    assert judged(*log)


def test_deleted_messages_may_be_missing_and_must_not_be_shown_again():
    gone = {"type": "ChatDeleted", "payload": {"id": "m6", "deleted_seq": 6, "seq": 7}}
    assert judged(entered(last=2), line(5), line(6, "m6"), gone) == []
    assert judged(entered(last=2), line(5), line(6, "m6"))
    assert judged(entered(last=2), line(5), gone, line(6, "m6"))


def test_chat_that_is_missing_or_not_recovered_after_a_resume_is_a_violation():
    assert judged(entered(2, last=5, recovered=True), line(2), line(5), asked=since(1)) == []
    assert judged(entered(1, last=5, recovered=True), line(5), asked=since(1))
    assert judged(entered(2, last=5, recovered=False), line(2), line(5), asked=since(1))


def test_a_reset_without_need_is_a_violation():
    history = [entered(last=2), line(5), reset(5, "e"), line(7)]
    assert judged(*history)
    assert judged(*history, losses=(111.0,)) == []
    assert judged(*history, losses=(50.0,)), "that loss was long ago"
    assert judged(*history, losses=(113.0,)), "that loss came later"


def test_a_loss_of_storage_without_a_reset_is_a_violation():
    assert unannounced_losses([recorded(entered(last=2), line(5))], [110.5])
    assert unannounced_losses([recorded(entered(last=2), line(5), reset(0, "new"))], [110.5]) == []
    assert unannounced_losses([recorded(entered(last=2), line(5))], [50.0]) == []
    assert unannounced_losses([replace(recorded(entered(last=2), line(5)), room=None)], [110.5]) == []


def test_not_being_recovered_is_right_only_where_the_storage_was_lost():
    gone = [entered(last=0, recovered=False), line(1)]
    assert judged(*gone, asked=since(70, "before"), losses=(109.0,)) == []
    assert judged(*gone, asked=since(70, "before"), losses=(60.0,))
    assert judged(*gone, asked=since(70, "before"), losses=(120.0,)), "that loss came later"
    assert judged(*gone, asked=since(70, "before"))
    assert judged(entered(last=70, recovered=True), asked=since(70, "before"), losses=(109.0,))


def test_a_client_that_lacks_chat_at_rest_is_a_violation():
    assert chat_at_rest({"a client": ((ROOM, "e"), 9)}, STORED, "e") == []
    assert chat_at_rest({"a client": ((ROOM, "e"), 7)}, STORED, "e")
    assert chat_at_rest({"a client": ((ROOM, "before"), 9)}, STORED, "e")


# --- whole systems that are broken -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("broken")) as running:
        yield running


SEEDS = count(1)


async def restart(processes: Iterable[ServiceProcess], *commands: list[str]) -> None:
    for process in processes:
        await asyncio.to_thread(process.stop)
    for process, command in zip(processes, commands, strict=True):
        process.command = command
        process.start()
    for process in processes:
        await asyncio.to_thread(process.wait_ready)


async def play_with_gateways(system: System, commands: list[list[str]], size: Crowd, faults: list[Fault]) -> list[str]:
    """The checker's violations of one round with these gateways, and replicas of presence, if any are given."""
    processes = [*system.gateways, *system.presence][: len(commands)]
    usual = [process.command for process in processes]
    await restart(processes, *commands)
    try:
        await system.wait_healthy()
        actors = crowd(system, next(SEEDS), size)
        try:
            return (await play(system, actors, faults, rest_seconds=3.0)).violations
        finally:
            await asyncio.gather(*(actor.end() for actor in actors))
    finally:
        await restart(processes, *usual)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(180)
@pytest.mark.long
async def test_a_gateway_that_does_not_look_for_missing_chat_is_caught(system: System):
    size = Crowd(steady=8, mortal=0, busy=4, second_tabs=0, rooms=2)
    violations: list[str] = []
    for seed in range(5):
        # Perhaps nobody chats in a room just while a gateway of its members receives nothing.
        fault = draw("cut a gateway off", random.Random(seed))
        violations = await play_with_gateways(
            system, [[sys.executable, str(WITHOUT_GAP_CHECK), "gateway"]] * GATEWAYS, size, [fault]
        )
        if any("are missing between" in violation for violation in violations):
            break
    print(f"{len(violations)} violations, the first: {violations[0] if violations else None}")
    assert violations


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(180)
@pytest.mark.long
async def test_a_gateway_that_does_not_announce_its_members_is_caught(system: System):
    size = Crowd(steady=6, mortal=0, busy=6, second_tabs=0, rooms=2)
    fault = draw("restart NATS without its storage", random.Random(1))
    violations = await play_with_gateways(
        system, [[sys.executable, str(WITHOUT_ANNOUNCEMENT), "gateway"]] * GATEWAYS, size, [fault]
    )
    print(f"{len(violations)} violations, the first: {violations[0] if violations else None}")
    assert violations


CAUGHT = {
    "short_history": "are stored before",
    "positions_ahead": "received position",
    "leaves_twice": "times that",
    "old_names": "is shown",
    "lost_cursors": "sees the cursor of",
    "refused_joins": "was refused, presence_unavailable",
    "no_grace": "who went 0 times|got a roster without",
    "other_texts": "something else to others",
    "forgotten_posts": "was acknowledged and is not stored",
    "kept_deletions": "was deleted and is still stored",
    "events_twice": r"event (\d+) of \S+ after event \1:",
    "events_backwards": r"event (\d+) of \S+ after event (?!\1:)",
    "events_of_gone_users": "received an event of .*who is not in the room",
    "old_events_win": "did not get the last event of",
    "untold_fields": "has the fields .* and they were set to",
    "fields_as_leaves": "received a false leave of",
    "fields_replaced": "went back from",
    "old_texts": r"shows \d+ in \S+ as",
    "kept_edits": "the edit .* is still stored",
    "unseen_edits": "are missing between",
}
"""The violations by which the rules catch a defect."""


_BROKEN = ["env", "STUDYROOM_PURE_PYTHON=true", sys.executable, str(BROKEN)]
"""Methods of compiled classes cannot be replaced."""
_ROUNDS = 5
"""The rules must catch a defect in so many rounds: random acts may miss it in one."""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "defects",
    [
        (
            "short_history+events_twice+kept_edits",
            "leaves_twice+untold_fields+kept_edits",
            "old_names+unseen_edits+kept_edits",
        ),
        (
            "positions_ahead+old_events_win",
            "lost_cursors+events_of_gone_users",
            "refused_joins+old_texts",
            "no_grace+fields_replaced",
        ),
        # A backend asks any gateway, and seldom.
        (
            "forgotten_posts+kept_deletions+other_texts",
            "forgotten_posts+kept_deletions+fields_as_leaves",
            "forgotten_posts+kept_deletions+events_backwards",
        ),
    ],
)
@pytest.mark.long
async def test_services_that_break_a_promise_each_are_caught_by_the_rules_of_those_promises(
    system: System, defects: tuple[str, ...]
):
    size = Crowd(steady=8, mortal=0, busy=16, second_tabs=0, rooms=2, groups=1)
    commands = [[*_BROKEN, defect, "gateway"] for defect in defects[:GATEWAYS]]
    commands += [[*_BROKEN, defect, "presence"] for defect in defects[GATEWAYS:]] * REPLICAS
    violations: list[str] = []

    def missed() -> list[str]:
        names = {name for defect in defects for name in defect.split("+")}
        return [name for name in names if not any(re.search(CAUGHT[name], one) for one in violations)]

    for _ in range(_ROUNDS):
        violations += await play_with_gateways(system, commands, size, [])
        if not missed():
            break
    assert missed() == [], violations[:5]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("restore an older store of one NATS server",), False),
        (("restore an older store of one NATS server", "freeze a gateway"), False),
        (("restore an older store of one NATS server", "restart NATS"), True),
        (("kill the leader of the chat stream", "tear the newest writes of one NATS server"), True),
        (("kill the leader of the chat stream", "restart NATS"), False),
    ],
)
def test_acknowledged_messages_may_be_lost_only_if_one_server_forgets_them_while_another_has_a_fault(
    names: tuple[str, ...], expected: bool
):
    assert may_lose_tail([draw(name, random.Random(1)) for name in names]) is expected
