"""Each rule on a history that breaks it, and on a history that nearly does."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.members import (
    Looks,
    Membership,
    Place,
    Troubles,
    cursors_differ,
    incomplete_rosters,
    looks_differ,
    movements,
    news_of,
    shown,
    visits,
)
from tests.faults.refusals import CHAT, GATEWAY, NATS, PRESENCE, Damage, Refusal, refusals_in, wrong_refusals
from tests.faults.stalls import STALLED_SECONDS, watched
from tests.faults.stored import (
    HISTORY_ON_JOIN,
    Newcomer,
    Posted,
    contents_differ,
    lost_posts,
    newcomers,
    positions,
    positions_beyond,
    replicas_differ,
    shown_after_deletion,
)
from tests.support.chat import Asked, ends_join, views
from tests.support.waiting import eventually

ADA, BEN, ROOM, OTHER = "ada", "ben", "room", "other"
GRACE, GONE = 2.0, 10.0
QUIET = Troubles(0.0, 100.0)
Log = list[dict[str, Any]]


def user(name: str, **more: Any) -> dict[str, Any]:
    return {"user_id": name, "username": name, "avatar_url": None, "cursor": None, **more}


def roster(*users: str | dict[str, Any], room: str = ROOM) -> dict[str, Any]:
    members = [one if isinstance(one, dict) else user(one) for one in users]
    return {"type": "JoinedRoom", "payload": {"room_id": room, "users": members, "history": 0, "last_seq": 0}}


def joined(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "UserJoined", "payload": {"user": user(name, **more)}}


def left(name: str) -> dict[str, Any]:
    return {"type": "UserLeft", "payload": {"user_id": name}}


# --- coming and going --------------------------------------------------------------------------------------


def membership_id(asked: float, ended: float | None = None, *, clean: bool = True, gateway: int = 1) -> Membership:
    return Membership(BEN, ROOM, gateway, asked, asked + 0.1, ended, clean)


def moved(
    log: Log, *memberships: Membership, times: list[float] | None = None, troubles: Troubles = QUIET
) -> list[str]:
    """A message each second from 20 on."""
    at = times or [20.0 + second for second in range(len(log))]
    return movements(news_of(ADA, 0, log, at, [19.9]), visits(memberships, GRACE), GONE, troubles).violations


GONE_ONCE = [roster(ADA, BEN), left(BEN)]
GONE_TWICE = [*GONE_ONCE, joined(BEN), left(BEN)]


def test_a_user_who_is_announced_again_and_leaves_again_without_having_come_back_is_a_violation():
    assert moved(GONE_ONCE, membership_id(1.0, 20.5)) == []
    assert moved(GONE_TWICE, membership_id(1.0, 20.5))
    assert moved(GONE_TWICE, membership_id(1.0, 20.5), membership_id(21.5, 22.5)) == []
    assert moved([*GONE_ONCE, joined(BEN)], membership_id(1.0, 20.5))


def test_a_user_who_is_announced_before_coming_is_a_violation():
    assert moved([roster(ADA), joined(BEN)], membership_id(20.5)) == []
    assert moved([roster(ADA), joined(BEN)], membership_id(25.0))
    assert moved([roster(ADA), joined(BEN)])


def test_a_leave_of_a_user_who_came_back_within_the_grace_period_is_a_violation():
    lost = membership_id(1.0, 20.2, clean=False)
    assert moved([roster(ADA, BEN), left(BEN), joined(BEN)], lost, membership_id(21.5))
    late = [20.0, 22.3, 23.1]
    assert moved([roster(ADA, BEN), left(BEN), joined(BEN)], lost, membership_id(23.0), times=late) == [], (
        "that was too late"
    )
    assert moved([roster(ADA, BEN), left(BEN), joined(BEN)], replace(lost, clean=True), membership_id(21.5)) == []
    assert moved([roster(ADA, BEN), left(BEN), joined(BEN)], lost, replace(membership_id(21.5), entered=None)) == []


def test_a_leave_of_a_user_with_another_tab_in_the_room_is_a_violation():
    tab = membership_id(5.0, gateway=2)
    assert moved(GONE_ONCE, membership_id(1.0, 20.5), tab)
    assert moved(GONE_ONCE, membership_id(1.0, 20.5), replace(tab, ended=20.6)) == []


def test_a_loss_that_a_leave_of_another_connection_may_overtake_keeps_no_membership():
    back = [membership_id(1.0, 20.2, clean=False), membership_id(21.5)]
    away = [roster(ADA, BEN), left(BEN), joined(BEN)]
    assert moved(away, membership_id(1.0, 19.8, gateway=2), *back) == []
    assert moved(away, membership_id(1.0, 15.0, gateway=2), *back)


def test_a_change_that_a_broken_gateway_or_bus_carries_out_late_is_not_a_violation():
    struck = Troubles(19.0, 22.0, faults=1)
    assert moved(GONE_TWICE, membership_id(1.0, 20.5), troubles=replace(struck, gateways=frozenset({1}))) == []
    assert moved(GONE_TWICE, membership_id(1.0, 20.5), troubles=replace(struck, gateways=frozenset({2})))
    assert moved(GONE_TWICE, membership_id(1.0, 20.5), troubles=replace(struck, bus=True)) == []
    over = replace(struck, since=5.0, until=8.0, bus=True)
    assert moved(GONE_TWICE, membership_id(1.0, 20.5), troubles=over), "all has been well for long"
    assert moved(GONE_ONCE, membership_id(1.0), troubles=replace(struck, bus=True)), (
        "a user who stayed has not left, during any fault"
    )
    assert moved(GONE_ONCE, membership_id(1.0), troubles=replace(struck, given_up=frozenset({1}))) == []


def test_a_roster_without_somebody_who_was_there_is_a_violation():
    def incomplete(log: Log, *memberships: Membership, troubles: Troubles = QUIET) -> list[str]:
        times = [20.0 + second for second in range(len(log))]
        return incomplete_rosters(news_of(ADA, 0, log, times, [19.9]), visits(memberships, GRACE), troubles, 30.0)

    assert incomplete([roster(ADA, BEN)], membership_id(1.0)) == []
    assert incomplete([roster(ADA)], membership_id(1.0))
    assert incomplete([roster(ADA)], membership_id(1.0, 19.0)) == []
    assert incomplete([roster(ADA)], membership_id(19.95)) == [], (
        "a user who comes at the same time may come afterwards"
    )
    assert incomplete([roster(ADA)], membership_id(1.0), troubles=replace(QUIET, losses=(15.0,))) == []


# --- how members look --------------------------------------------------------------------------------------


def test_names_and_avatars_that_are_not_those_of_the_token_or_not_the_same_for_all_are_violations():
    new = Looks("Ben II", "https://example.org/ben.png")
    update = {"type": "UserUpdated", "payload": {"user": user(BEN, username=new[0], avatar_url=new[1])}}
    looks, _ = shown([roster(ADA, BEN), update])
    stale, _ = shown([roster(ADA, BEN)])
    assert looks_differ({"a client": (ROOM, looks)}, {(ROOM, BEN): {new}}) == []
    assert looks_differ({"a client": (ROOM, stale)}, {(ROOM, BEN): {new}})
    either = {(ROOM, BEN): {new, Looks(BEN, None)}}
    assert looks_differ({"a client": (ROOM, looks)}, either) == []
    assert looks_differ({"a client": (ROOM, looks), "another": (ROOM, stale)}, either)


def test_a_cursor_that_is_not_the_last_is_a_violation():
    def seen(*log: dict[str, Any]) -> list[str]:
        return cursors_differ({"a client": (ROOM, ADA, shown(log)[1])}, {(ROOM, BEN): {Place(1.0, 2.0)}})

    moved_there = {"type": "CursorUpdate", "payload": {"user_id": BEN, "x": 1.0, "y": 2.0}}
    elsewhere = {"type": "CursorUpdate", "payload": {"user_id": BEN, "x": 3.0, "y": 2.0}}
    there = {"x": 1.0, "y": 2.0, "element_id": None}
    assert seen(roster(ADA, BEN), elsewhere, moved_there) == []
    assert seen(roster(ADA, user(BEN, cursor=there))) == []
    assert seen(roster(ADA), joined(BEN, cursor=there)) == []
    assert seen(roster(ADA, BEN), moved_there, elsewhere)
    assert seen(roster(ADA, BEN)), "it was never sent"
    assert seen(roster(ADA, user(BEN, cursor=there)), left(BEN), joined(BEN))
    assert seen(roster(ADA)) == [], "an absent user has no cursor"


# --- history and positions ---------------------------------------------------------------------------------


def entered(history: int, last: int | None, *, recovered: bool | None = None) -> dict[str, Any]:
    payload = {"room_id": ROOM, "users": [], "epoch": "e", "history": history, "last_seq": last, "recovered": recovered}
    return {"type": "JoinedRoom", "payload": payload}


def line(sequence: int, **more: Any) -> dict[str, Any]:
    return {"type": "Chat", "payload": {"seq": sequence, "id": f"m{sequence}", **more}}


KNOWN = (1, 2, 5, 7, 9)


def given(
    *log: dict[str, Any],
    since: int | None = None,
    known: tuple[int, ...] = KNOWN,
    gone: tuple[int, ...] = (),
    complete: bool = True,
) -> list[str]:
    found = views(log, [Asked(ROOM, since, "e" if since is not None else None)])
    every = [Newcomer(view, complete) for view in found]
    return newcomers(every, {(ROOM, "e"): known}, {(ROOM, "e"): gone}).violations


def test_a_newcomer_gets_the_newest_messages_that_are_stored_and_all_of_them():
    assert given(entered(5, 9), *map(line, KNOWN)) == []
    assert given(entered(1, 9), line(9)), "one of five"
    assert given(entered(4, 9), line(1), line(2), line(5), line(9)), "a hole"
    assert given(entered(4, 7), *map(line, (1, 2, 5, 7)), line(9)) == [], "the fifth was sent later"
    assert given(entered(5, 7), *map(line, KNOWN)), "more than its position"
    assert given(entered(0, 9)), "none of five"
    assert given(entered(0, 0)) == []
    assert given(entered(0, None), line(9)) == [], "they could not be read"


def test_a_newcomer_gets_at_most_the_newest():
    many = tuple(range(1, HISTORY_ON_JOIN + 21))
    newest = many[-HISTORY_ON_JOIN:]
    assert given(entered(len(newest), many[-1]), *map(line, newest), known=many) == []
    assert given(entered(len(newest), many[-1]), *map(line, newest[:-2]), *map(line, newest[-1:]), known=many)
    older = many[-HISTORY_ON_JOIN - 1 : -1]
    assert given(entered(len(older), many[-1]), *map(line, older), known=many), "not the newest"
    assert given(entered(len(many), many[-1]), *map(line, many), known=many), "too many"
    few = newest[1:]
    assert given(entered(len(few), many[-1]), *map(line, few), known=many), "too few"


def test_deletions_do_not_excuse_a_short_history():
    assert given(entered(1, 10), line(9), gone=(7,))
    some = tuple(range(1, HISTORY_ON_JOIN + 22))
    kept = some[-HISTORY_ON_JOIN:-1]
    assert given(entered(len(kept), some[-1]), *map(line, kept), known=some, gone=some[-1:]) == []


def test_a_newcomer_gets_nothing_that_is_deleted_and_all_that_is_not():
    assert given(entered(4, 10), *map(line, (1, 2, 5, 9)), gone=(7,)) == []
    assert given(entered(4, 10), *map(line, (1, 2, 5, 9)), gone=(5,))


def test_a_client_that_comes_back_gets_all_missed_messages():
    assert given(entered(3, 9, recovered=True), *map(line, (5, 7, 9)), since=2) == []
    assert given(entered(2, 9, recovered=True), *map(line, (7, 9)), since=2)
    assert given(entered(0, 9, recovered=True), since=2)
    assert given(entered(0, 9, recovered=True), since=9) == []


def test_a_history_that_is_announced_and_does_not_come_is_a_violation_unless_the_connection_ends():
    assert given(entered(5, 9), *map(line, (1, 2, 5)))
    assert given(entered(5, 9), *map(line, (1, 2, 5)), complete=False) == []


@pytest.mark.parametrize(
    ("log", "right"),
    [
        ([entered(0, 9)], True),
        ([entered(0, 10)], False),
        ([entered(0, 7), line(9)], True),
        ([entered(0, 7), line(99)], False),
        ([entered(0, 7), {"type": "ChatReset", "payload": {"room_id": ROOM, "epoch": "e", "last_seq": 10}}], False),
        ([entered(0, 7), {"type": "ChatDeleted", "payload": {"id": "m7", "deleted_seq": 7, "seq": 10}}], False),
    ],
    ids=["the last", "beyond", "a message", "a message beyond", "a reset beyond", "a deletion beyond"],
)
def test_a_position_beyond_the_stream_is_a_violation(log: Log, right: bool):
    found = positions(ADA, log, [20.0 + second for second in range(len(log))])
    assert (positions_beyond(found, {}, {}, "e", 9) == []) is right


def test_a_position_that_the_stream_reached_later_is_a_violation():
    messages = {(ROOM, "e"): {sequence: {f"m{sequence}"} for sequence in KNOWN}}
    sent = {"m7": 30.0, "m9": 40.0}
    for position, at, right in ((5, 20.0, True), (7, 20.0, False), (8, 35.0, True), (9, 35.0, False), (9, 41.0, True)):
        found = positions(ADA, [entered(0, position)], [at])
        assert (positions_beyond(found, sent, messages, "e", 9) == []) is right, (position, at)


def test_a_message_with_another_text_for_others_is_a_violation():
    mine, same, other = (
        [entered(0, 0), line(1, content=text, username="Ben")] for text in ("hello", "hello", "goodbye")
    )
    assert contents_differ([mine, same]) == []
    assert contents_differ([mine, other])
    assert contents_differ([mine, [entered(0, 0), line(1, content="hello", username="Ada")]])
    reset = {"type": "ChatReset", "payload": {"room_id": ROOM, "epoch": "f", "last_seq": 0}}
    assert contents_differ([mine, [entered(0, 0), reset, *other[1:]]]) == []


def test_servers_that_have_not_the_same_chat_are_a_violation():
    chat = {ROOM: {1: "m1", 2: "m2"}}
    assert replicas_differ({"n0": chat, "n1": {ROOM: {1: "m1", 2: "m2"}}, "n2": chat}) == []
    assert replicas_differ({"n0": chat, "n1": {ROOM: {1: "m1"}}, "n2": chat})
    assert replicas_differ({"n0": chat, "n1": chat, "n2": {ROOM: {1: "m1", 2: "another"}}})
    assert replicas_differ({"n0": chat, "n1": chat, "n2": {}})


def test_a_message_acknowledged_to_a_backend_that_is_not_stored_is_a_violation():
    post = [Posted(ROOM, "m9", 20.0)]
    assert lost_posts(post, {ROOM: {9: "m9"}}, set(), (), set()) == []
    assert lost_posts(post, {ROOM: {7: "m7"}}, set(), (), set())
    assert lost_posts(post, {}, set(), (19.0,), set())
    assert lost_posts(post, {}, set(), (21.0,), set()) == []
    assert lost_posts(post, {}, {"m9"}, (), set()) == []
    assert lost_posts(post, {}, set(), (), {ROOM}) == []


def test_a_deleted_message_that_is_stored_or_still_shown_is_a_violation():
    erased = [Posted(ROOM, "m9", 20.0)]
    deletion = {"type": "ChatDeleted", "payload": {"id": "m9", "deleted_seq": 9, "seq": 10}}

    def wrong(stored: dict[int, str], *log: dict[str, Any]) -> list[str]:
        return shown_after_deletion(erased, views(log, [Asked(ROOM)]), {ROOM: stored}, (), set())

    assert wrong({7: "m7"}, entered(0, 7), line(9), deletion) == []
    assert wrong({7: "m7"}, entered(0, 10)) == []
    assert wrong({7: "m7", 9: "m9"}, entered(0, 10))
    assert wrong({7: "m7"}, entered(0, 7), line(9))


# --- refusals ----------------------------------------------------------------------------------------------

BUS = Damage(20.0, 30.0, frozenset({NATS}))


def refused(what: str, damage: Damage, *, at: float = 25.0, gateway: int = 0, room: str | None = ROOM) -> list[str]:
    return wrong_refusals([Refusal(ADA, gateway, at, what, room)], damage)


def test_a_refusal_without_a_reason_is_a_violation():
    assert refused("presence_unavailable", BUS) == []
    assert refused("presence_unavailable", Damage(20.0, 30.0)), "nothing was taken"
    assert refused("chat_unavailable", BUS) == []
    assert refused("chat_unavailable", replace(BUS, takes=frozenset({PRESENCE}))), "presence has nothing to do with it"
    assert refused("chat_unavailable", replace(BUS, takes=frozenset({CHAT}))) == []
    assert refused("presence_unavailable", replace(BUS, takes=frozenset({CHAT}))), "a full chat store refuses no join"
    for never in ("internal", "rate_limited", "status 503", "invalid_message"):
        assert refused(never, BUS)


def test_a_deadline_may_pass_now_and_then_and_nothing_else_may():
    def several(what: str, count: int) -> list[str]:
        return wrong_refusals([Refusal(ADA, 0, 25.0, what)] * count, Damage(20.0, 30.0), tolerated=2)

    assert several("chat_unavailable", 2) == []
    assert len(several("chat_unavailable", 3)) == 3
    assert several("internal", 1)


def test_a_refusal_by_a_gateway_or_in_a_room_that_nothing_has_happened_to_is_a_violation():
    cut = Damage(20.0, 30.0, frozenset({GATEWAY}), frozenset({1}))
    assert refused("presence_unavailable", cut, gateway=1) == []
    assert refused("presence_unavailable", cut, gateway=0)
    assert refused("status 503", cut, gateway=1) == [], "a gateway that drains accepts no handshake"
    assert refused("status 503", cut, gateway=0)
    half = Damage(20.0, 30.0, frozenset({PRESENCE}), rooms={ROOM})
    assert refused("presence_unavailable", half) == []
    assert refused("presence_unavailable", half, room=OTHER)


def test_a_refusal_before_the_fault_or_long_after_it_is_a_violation():
    assert refused("presence_unavailable", BUS, at=19.0)
    assert refused("presence_unavailable", BUS, at=36.0) == []
    assert refused("presence_unavailable", BUS, at=38.0)


def test_a_connection_that_is_closed_without_a_reason_is_a_violation():
    closed = refusals_in(ADA, 0, [roster()], [20.0], asked=[Asked(ROOM)], closed=(25.0, 4500))
    assert wrong_refusals(closed, BUS)
    assert wrong_refusals(closed, Damage(20.0, 30.0, frozenset({GATEWAY}), frozenset({0}))) == []


def test_chat_outside_a_room_is_refused_rightly_only_where_a_join_failed():
    def error(code: str) -> dict[str, Any]:
        return {"type": "Error", "payload": {"code": code, "message": "no"}}

    def codes(*log: dict[str, Any]) -> list[str]:
        found = refusals_in(ADA, 0, log, [20.0] * len(log), asked=[Asked(ROOM), Asked(OTHER)])
        return [refusal.what for refusal in found]

    assert codes(error("presence_unavailable"), error("not_in_room")) == ["presence_unavailable"]
    assert codes(error("not_in_room")) == ["not_in_room"]
    assert codes(error("presence_unavailable"), roster(), error("not_in_room")) == [
        "presence_unavailable", "not_in_room",
    ]  # fmt: skip


def test_a_join_that_is_refused_for_its_rate_is_answered_too():
    """Otherwise an actor whose joins are refused at once, and that asks again and again, seems to have no answer."""
    refused = {"type": "Error", "payload": {"code": "rate_limited", "message": "too many joins"}}
    assert ends_join(refused)
    about_a_message = {"type": "Error", "payload": {"code": "rate_limited", "message": "too much", "id": "1"}}
    assert not ends_join(about_a_message)


async def test_the_checker_notices_that_it_stood_still():
    async with watched() as stalls:
        await asyncio.sleep(0)
        time.sleep(STALLED_SECONDS + 0.2)  # noqa: ASYNC251 - this is the stall
        await eventually(lambda: len(stalls) == 1, "the stall is found")
    (stall,) = stalls
    assert stall.ended - stall.began > STALLED_SECONDS
