"""The rules for events and custom presence, each on a history that breaks it, and on one that nearly does."""

from typing import Any

import pytest

from tests.faults.shown_to_members import (
    Fields,
    OwnFields,
    Received,
    Written,
    event,
    events_missing,
    fields_differ,
    late_reversals,
)

ADA, BEN, ROOM, OTHER, CONNECTION = "ada", "ben", "room", "other", "connection of ben"
Log = list[dict[str, Any]]


def person(user: str, name: str = "x", **fields: Any) -> dict[str, Any]:
    return {"user_id": user, "username": name, "avatar_url": None, "presence": fields or None}


def roster(*users: dict[str, Any]) -> dict[str, Any]:
    return {"type": "JoinedRoom", "payload": {"room_id": ROOM, "users": [person(ADA), *users]}}


def joined(user: dict[str, Any]) -> dict[str, Any]:
    return {"type": "UserJoined", "payload": {"user": user}}


def updated(user: dict[str, Any]) -> dict[str, Any]:
    return {"type": "UserUpdated", "payload": {"user": user}}


LEFT = {"type": "UserLeft", "payload": {"user_id": BEN}}


def changed(user: str, **fields: Any) -> dict[str, Any]:
    return {"type": "PresenceChanged", "payload": {"user_id": user, "fields": fields}}


def sent(number: int, *, user: str = BEN, room: str = ROOM, keyed: bool = False, **more: Any) -> dict[str, Any]:
    payload = event(room, CONNECTION, number, keyed=keyed)
    return {"type": "Broadcast", "payload": {"user_id": user, **payload, **more}}


def received(*log: dict[str, Any]) -> Received:
    found = Received(ADA)
    for message in log:
        found.take(message)
    return found


@pytest.mark.parametrize(
    "log",
    [
        [roster(person(BEN)), sent(1), sent(2), sent(9, keyed=True)],
        [roster(), joined(person(BEN)), sent(1), LEFT],
        [roster(person(BEN)), sent(1), roster(person(BEN)), sent(2)],
        [roster(person(BEN, seat=1)), changed(BEN, seat=2, hand=3), changed(BEN, seat=None), changed(BEN, hand=4)],
        [roster(person(BEN, seat=1)), updated(person(BEN, "y", seat=1)), changed(BEN, seat=2)],
        [roster(person(BEN, seat=1)), LEFT, joined(person(BEN)), changed(BEN, seat=1)],
        [roster(), changed(ADA, seat=1)],
    ],
    ids=["in order", "while there", "after a join again", "changes", "a new name", "after a leave", "own fields"],
)
def test_right_events_and_fields_have_no_violations(log: Log):
    found = received(*log)
    assert found.violations == []
    assert found.judged > 0


@pytest.mark.parametrize(
    ("log", "what"),
    [
        ([roster(person(BEN)), sent(1), sent(1)], "twice, or out of order"),
        ([roster(person(BEN)), sent(2), sent(1)], "twice, or out of order"),
        ([roster(person(BEN)), sent(2), roster(person(BEN)), sent(2)], "twice, or out of order"),
        ([roster(person(BEN)), sent(2), sent(1, keyed=True)], "twice, or out of order"),
        ([roster(), sent(1)], "who is not in the room"),
        ([roster(person(BEN)), LEFT, sent(1)], "who is not in the room"),
        ([roster(), sent(1), joined(person(BEN))], "who is not in the room"),
        ([roster(person(BEN)), sent(1, room=OTHER)], "of another room"),
        ([roster(), sent(1, user=ADA)], "of its own"),
        ([roster(person(BEN)), sent(1, key="pointer")], "with another key"),
        ([roster(), changed(BEN, seat=1)], "who is not in the room"),
        ([roster(person(BEN)), changed(BEN)], "that it had already"),
        ([roster(person(BEN, seat=1)), changed(BEN, seat=1)], "that it had already"),
        ([roster(person(BEN)), changed(BEN, seat=None)], "that it had already"),
        ([roster(person(BEN)), updated(person(BEN, seat=1))], "with the same name"),
    ],
)
def test_events_and_fields_that_a_member_must_not_get_are_violations(log: Log, what: str):
    (violation,) = received(*log).violations
    assert what in violation


def views(*fields: Fields) -> dict[str, tuple[str, dict[str, Fields]]]:
    return {f"client {number}": (ROOM, {BEN: its}) for number, its in enumerate(fields)}


def test_fields_that_are_not_those_that_the_member_set_last_are_violations():
    right, old = {"seat": 2}, {"seat": 1}
    truth: dict[tuple[str, str], Fields | None] = {(ROOM, BEN): right}
    assert fields_differ(views(right, right), {"presence": {(ROOM, BEN): right}}, truth) == []
    assert len(fields_differ(views(right, old), {}, truth)) == 1
    assert len(fields_differ(views(right), {"presence": {(ROOM, BEN): old}}, truth)) == 1
    assert len(fields_differ(views(old, old), {}, truth)) == 2


def test_fields_of_a_user_with_several_tabs_are_the_same_for_all():
    truth: dict[tuple[str, str], Fields | None] = {(ROOM, BEN): None}
    assert fields_differ(views({"seat": 1}, {"seat": 1}), {}, truth) == []
    assert fields_differ(views({"seat": 1}, {"seat": 2}), {}, truth)
    assert fields_differ(views({"seat": 1}), {"presence": {(ROOM, BEN): {}}}, truth)


def test_a_last_event_that_does_not_arrive_is_a_violation():
    last = {CONNECTION: (ROOM, BEN, 3)}
    assert events_missing(last, {"a client": (ROOM, ADA, {CONNECTION: 3})}) == []
    assert events_missing(last, {"a client": (ROOM, ADA, {CONNECTION: 2})})
    assert events_missing(last, {"a client": (ROOM, ADA, {})})
    assert events_missing(last, {"a client": (OTHER, ADA, {}), "another tab": (ROOM, BEN, {})}) == []


def test_the_last_event_of_one_tab_may_replace_that_of_another():
    last = {CONNECTION: (ROOM, BEN, 3), "another": (ROOM, BEN, 7)}
    assert events_missing(last, {"a client": (ROOM, ADA, {CONNECTION: 3})}) == []
    assert events_missing(last, {"a client": (ROOM, ADA, {"another": 7, CONNECTION: 1})}) == []
    assert events_missing(last, {"a client": (ROOM, ADA, {"another": 6, CONNECTION: 2})})


# --- the fields of a tab -----------------------------------------------------------------------------------


def tab(*, alone: bool = True) -> OwnFields:
    return OwnFields(BEN, Written(), alone)


def test_a_tab_sends_again_the_fields_that_the_server_lost():
    own = tab()
    own.set(ROOM, {"seat": 1})
    own.set(ROOM, {"hand": 2})
    own.lost(ROOM)
    assert own.joined(ROOM, {"seat": 1}) == {"hand": 2}
    assert own.shown == {"seat": 1, "hand": 2}
    own.set(ROOM, {"hand": None})
    own.lost(ROOM)
    assert own.joined(ROOM, {"seat": 1, "hand": 2}) == {"hand": None}
    own.left(ROOM)
    assert own.joined(ROOM, {}) == {}
    assert own.violations == []


def test_a_value_that_comes_back_while_a_newer_one_is_under_way_is_not_a_reversal():
    own = tab()
    for value in (1, 2):
        own.set(ROOM, {"seat": value})
    for value in (1, 2):
        own.changed(ROOM, {"seat": value}, 10.0)
    assert (own.changed_back, own.shown) == ([], {"seat": 2})


def test_a_value_that_replaces_a_newer_one_is_a_violation_unless_it_was_lost_on_its_way_before():
    own = tab()
    for value in (1, 2):
        own.set(ROOM, {"seat": value})
        own.changed(ROOM, {"seat": value}, 10.0)
    own.changed(ROOM, {"seat": 1}, 11.0)
    assert late_reversals([own], [], 0.0)
    assert late_reversals([own], [10.5], 0.0) == [], "NATS had lost its storage"
    assert late_reversals([own], [11.5], 0.0), "that loss came later"
    late = tab()
    late.set(ROOM, {"seat": 1})
    late.lost(ROOM)
    assert late.joined(ROOM, {}) == {"seat": 1}
    late.set(ROOM, {"seat": 2})
    late.changed(ROOM, {"seat": 2}, 10.0)
    late.changed(ROOM, {"seat": 1}, 11.0)
    assert (late_reversals([late], [], 0.0), late.shown) == ([], {"seat": 1})


def test_a_value_that_comes_after_an_older_store_was_restored_is_the_one_that_counts():
    own = tab()
    own.set(ROOM, {"seat": 1})
    own.changed(ROOM, {"seat": 1}, 10.0)
    own.set(ROOM, {"seat": 2})
    own.changed(ROOM, {"seat": 1}, 11.0)
    own.changed(ROOM, {"seat": 2}, 12.0)
    assert own.shown == {"seat": 2}


def test_another_tab_may_replace_a_value():
    own = tab(alone=False)
    own.set(ROOM, {"seat": 1})
    own.changed(ROOM, {"seat": 1}, 10.0)
    own.written.values[ROOM, "seat"].add(7)
    own.changed(ROOM, {"seat": 7}, 11.0)
    assert (own.changed_back, own.violations, own.shown) == ([], [], {"seat": 7})


def test_a_value_that_the_user_never_sent_in_this_room_is_a_violation():
    own = tab()
    own.set(OTHER, {"seat": 1})
    own.left(OTHER)
    own.joined(ROOM, {"seat": 1})
    assert own.violations
