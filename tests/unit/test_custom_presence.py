"""The fields that members show to each other: merges, differences, and the members as clients see them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.rooms.notices import ShownMembers
from studyroom.gateway.rooms.roster import Change, Notice, Roster
from studyroom.gateway.wire.framing import payload_of
from studyroom.gateway.wire.items import Kind
from studyroom.shared.contract.custom_presence import difference, fields_bytes, merged
from studyroom.shared.contract.ids import GatewayId, MembershipId, RoomId, UserId
from studyroom.shared.contract.presence import Entry, JoinRequest, Member, Profile

ANN, BOB = UserId("0a1b2c3d-4e5f-4678-9abc-def012345678"), UserId("7f2c1f0e-0d3b-4e0a-9c57-2b1f6a8f3d11")
ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
ANNS = Profile(username="Ann")
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.dictionaries(st.sampled_from("abc"), VALUES)
CHANGES = st.dictionaries(st.sampled_from("abc"), st.none() | VALUES)


# --- merges and differences --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "change", "after"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 3}}, {"a": {"x": 3}}),
        ({"a": 1}, {"b": None}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_a_change_replaces_and_deletes_whole_fields_and_keeps_the_others(
    fields: dict[str, Any], change: dict[str, Any], after: dict[str, Any]
):
    assert merged(fields, change) == after


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), ([1], [True]), ({"b": 0}, {"b": False})])
def test_a_value_of_another_type_is_another_value(one: Any, other: Any):
    assert difference({"a": one}, {"a": other}) == {"a": other}
    assert difference({"a": one}, {"a": one}) == {}


@given(FIELDS, FIELDS)
def test_a_difference_is_the_change_that_leads_from_one_to_the_other(before: dict[str, Any], after: dict[str, Any]):
    change = difference(before, after)
    assert json.dumps(merged(before, change), sort_keys=True) == json.dumps(after, sort_keys=True)
    assert difference(after, after) == {}


@given(FIELDS, st.lists(CHANGES, max_size=4))
def test_changes_that_are_merged_first_lead_to_the_same_fields(before: dict[str, Any], changes: list[dict[str, Any]]):
    one_by_one, together = before, dict[str, Any]()
    for change in changes:
        one_by_one = merged(one_by_one, change)
        together |= change
    assert merged(before, together) == merged(one_by_one, {})


def test_the_size_of_fields_is_that_of_their_compact_json():
    assert fields_bytes({"status": "é"}) == len('{"status":"é"}'.encode())


# --- what presence stores ----------------------------------------------------------------------------------


def test_an_entry_without_fields_is_spelled_as_before_there_were_any():
    entry = Entry(profile=ANNS, connections={MembershipId("m"): GatewayId("g")})
    assert entry.encode() == b'{"profile":{"username":"Ann","avatar_url":null},"connections":{"m":"g"}}'
    assert b"fields" not in Member(user=ANN, profile=ANNS, revision=1).encode()
    join = JoinRequest(
        room=ROOM, user=ANN, connection=MembershipId("m"), gateway=GatewayId("g"), profile=ANNS, with_roster=True
    )
    assert b"fields" not in join.encode()


def test_other_connections_keep_the_fields_and_forget_the_numbers_of_those_that_are_gone():
    m, n = MembershipId("m"), MembershipId("n")
    entry = Entry(
        profile=ANNS, connections={m: GatewayId("g"), n: GatewayId("g")}, fields={"a": 1}, updates={m: 3, n: 4}
    )
    left = entry.with_connections({n: GatewayId("g")})
    assert (left.profile, left.fields, left.updates) == (ANNS, {"a": 1}, {n: 4})
    assert Entry.decode(left.encode()) == left
    assert left.with_connections({}, Profile(username="Anna")).profile.username == "Anna"


# --- the roster and the members as clients see them --------------------------------------------------------


def test_a_change_of_fields_is_a_notice_with_the_difference_and_a_new_name_comes_with_all_of_them():
    roster = Roster()
    joined = roster.put(ANN, ANNS, 1, {"a": 1})
    assert joined == Notice(Change.JOINED, ANN, ANNS, {"a": 1})
    assert roster.put(ANN, ANNS, 2, {"a": 1}) is None
    assert roster.put(ANN, ANNS, 3, {"b": 2}) == Notice(Change.FIELDS, ANN, ANNS, {"b": 2}, {"b": 2, "a": None})
    assert roster.put(ANN, ANNS, 2, {"c": 3}) is None
    anna = Profile(username="Anna")
    assert roster.put(ANN, anna, 4, {"c": 3}) == Notice(Change.UPDATED, ANN, anna, {"c": 3})
    assert roster.remove(ANN, 5) == Notice(Change.LEFT, ANN, anna, {"c": 3})


def test_a_loaded_roster_gives_the_differences_of_fields():
    roster = Roster()
    roster.load("e", 1, [Member(user=ANN, profile=ANNS, revision=1, fields={"a": 1, "b": 1})])
    notices = roster.load("e", 5, [Member(user=ANN, profile=ANNS, revision=4, fields={"b": 2})])
    assert notices == [Notice(Change.FIELDS, ANN, ANNS, {"b": 2}, {"b": 2, "a": None})]


class Shown:
    """A roster and its members as clients see them."""

    def __init__(self) -> None:
        self.roster, self.members = Roster(), ShownMembers()
        self.version = 0

    def put(self, user: UserId, revision: int, fields: dict[str, Any], *, is_local: bool = False) -> Any:
        return self._take(self.roster.put(user, ANNS, revision, fields), is_local=is_local)

    def remove(self, user: UserId, revision: int, *, is_local: bool = False) -> Any:
        return self._take(self.roster.remove(user, revision), is_local=is_local)

    def _take(self, notice: Notice | None, *, is_local: bool) -> Any:
        assert notice is not None
        return json.loads(payload_of(self.members.take(notice, is_local=is_local).frame))

    def users(self, cursors: dict[UserId, bytes] | None = None) -> list[dict[str, Any]]:
        self.version += bool(cursors)
        found: list[dict[str, Any]] = json.loads(b"[%b]" % self.members.users(self.version, (cursors or {}).items))
        return found


def test_newcomers_get_the_fields_of_all_members_beside_their_cursors():
    shown = Shown()
    assert shown.put(ANN, 1, {"a": 1})["payload"]["user"]["presence"] == {"a": 1}
    assert "presence" not in shown.put(BOB, 2, {})["payload"]["user"]
    cursor = b'{"x":1.0,"y":2.0,"element_id":null}'
    ann, bob = shown.users({ANN: cursor, BOB: cursor})
    assert (ann["presence"], ann["cursor"], bob["cursor"]) == ({"a": 1}, json.loads(cursor), json.loads(cursor))
    assert "presence" not in bob
    changed = shown.put(BOB, 3, {"b": None, "c": [2]} | {"b": 1})
    assert changed == {"type": "PresenceChanged", "payload": {"user_id": BOB, "fields": {"b": 1, "c": [2]}}}
    assert [user.get("presence") for user in shown.users()] == [{"a": 1}, {"b": 1, "c": [2]}]
    shown.put(ANN, 4, {})
    assert [user.get("presence") for user in shown.users()] == [None, {"b": 1, "c": [2]}]


def test_fields_of_a_lost_user_are_kept_for_the_restore_as_long_as_the_user_is_connected_here():
    shown = Shown()
    shown.put(ANN, 1, {"a": 1}, is_local=True)
    shown.put(BOB, 2, {"b": 2})
    shown.remove(ANN, 3, is_local=True)
    shown.remove(BOB, 4)
    assert shown.members.fields(ANN) == {"a": 1}
    assert shown.members.fields(BOB) == {}
    assert shown.users() == []
    shown.put(ANN, 5, {"a": 1}, is_local=True)
    assert [user["presence"] for user in shown.users()] == [{"a": 1}]
    shown.remove(ANN, 6, is_local=True)
    shown.members.forget(ANN)
    assert shown.members.fields(ANN) == {}


def test_a_change_of_fields_is_essential():
    shown = Shown()
    shown.put(ANN, 1, {})
    notice = shown.roster.put(ANN, ANNS, 2, {"a": 1})
    assert notice is not None
    assert shown.members.take(notice, is_local=False).kind is Kind.PRESENCE
