"""The copy of all rooms in presence: `studyroom.presence.roster.Mirror`."""

from functools import reduce
from operator import xor
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import studyroom.presence.roster
from studyroom.presence.roster import Mirror
from studyroom.shared.contract.ids import ConnectionId, GatewayId, MembershipId, RoomId, UserId
from studyroom.shared.contract.messages import CursorPosition
from studyroom.shared.contract.presence import Entry, Member, Profile, member_digest
from studyroom.shared.contract.subjects import SHARDS, shard_of

ROOM, OTHER = RoomId("room"), RoomId("other")
ADA, BEN = UserId("ada"), UserId("ben")
HERE = CursorPosition(x=1.0, y=2.0, element_id=None)


def entry(name: str = "Ada") -> Entry:
    return Entry(profile=Profile(username=name), connections={ConnectionId("c"): GatewayId("g")})


def test_a_member_that_is_put_is_in_the_roster_of_that_room_only():
    mirror = Mirror()
    mirror.put(ROOM, ADA, entry(), 5)
    ada = Member(user=ADA, profile=Profile(username="Ada"), revision=5, gateways=[GatewayId("g")])
    assert mirror.roster(ROOM) == [ada]
    assert mirror.roster(OTHER) == []


def test_a_member_that_is_removed_is_gone_and_an_empty_room_with_it():
    mirror = Mirror()
    mirror.put(ROOM, ADA, entry(), 5)
    mirror.remove(ROOM, ADA, 6)
    assert mirror.entry(ROOM, ADA) is None
    assert (mirror.room_count, mirror.member_count, mirror.rooms) == (0, 0, {})


def test_removing_the_unknown_only_moves_on():
    mirror = Mirror()
    mirror.remove(ROOM, ADA, 3)
    assert (mirror.applied, mirror.room_count, mirror.last_sequence(ROOM, ADA)) == (3, 0, 3)


def test_a_write_expects_the_last_change_of_its_key():
    mirror = Mirror()
    assert mirror.last_sequence(ROOM, ADA) == 0
    mirror.put(ROOM, ADA, entry(), 5)
    mirror.put(ROOM, BEN, entry("Ben"), 6)
    assert mirror.last_sequence(ROOM, ADA) == 5
    mirror.remove(ROOM, ADA, 7)
    assert mirror.last_sequence(ROOM, ADA) == 7


def test_a_marker_that_is_gone_is_forgotten():
    mirror = Mirror()
    mirror.remove(ROOM, ADA, 7)
    mirror.set_marker(ROOM, ADA, 0)
    assert mirror.last_sequence(ROOM, ADA) == 0


def test_only_the_newest_markers_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(studyroom.presence.roster, "MARKERS_KEPT", 2)
    mirror = Mirror()
    users = [UserId(name) for name in "abcd"]
    for sequence, user in enumerate(users, 1):
        mirror.remove(ROOM, user, sequence)
    assert [mirror.last_sequence(ROOM, user) for user in users] == [0, 0, 3, 4]


def test_a_removal_again_makes_its_marker_the_newest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(studyroom.presence.roster, "MARKERS_KEPT", 2)
    mirror = Mirror()
    for sequence, name in enumerate("abac", 1):
        mirror.remove(ROOM, UserId(name), sequence)
    assert [mirror.last_sequence(ROOM, UserId(name)) for name in "abc"] == [3, 0, 4]


def test_the_revision_of_other_shards_moves_on_and_never_back():
    mirror = Mirror()
    mirror.catch_up(9)
    mirror.catch_up(4)
    assert mirror.applied == 9


def test_a_cursor_stays_when_its_member_joins_again_and_goes_when_it_leaves():
    mirror = Mirror()
    mirror.put(ROOM, ADA, entry(), 1)
    mirror.move_cursor(ROOM, ADA, HERE)
    mirror.put(ROOM, ADA, entry("Ada L"), 2)
    assert [member.cursor for member in mirror.roster(ROOM)] == [HERE]
    mirror.remove(ROOM, ADA, 3)
    mirror.put(ROOM, ADA, entry(), 4)
    assert [member.cursor for member in mirror.roster(ROOM)] == [None]


def test_the_cursor_of_someone_who_is_not_here_makes_nobody_appear():
    mirror = Mirror()
    mirror.move_cursor(ROOM, ADA, HERE)
    assert (mirror.room_count, mirror.roster(ROOM)) == (0, [])


def test_a_rebuilt_mirror_inherits_the_cursors_of_those_still_there():
    older, newer = Mirror(), Mirror()
    for user in (ADA, BEN):
        older.put(ROOM, user, entry(), 1)
        older.move_cursor(ROOM, user, HERE)
    newer.put(ROOM, ADA, entry(), 1)
    newer.inherit(older)
    assert [(member.user, member.cursor) for member in newer.roster(ROOM)] == [(ADA, HERE)]


def test_a_rebuilt_mirror_inherits_which_memberships_have_ended():
    older, newer = Mirror(), Mirror()
    older.end(MembershipId("first"))
    newer.inherit(older)
    assert newer.has_ended(MembershipId("first"))
    assert not newer.has_ended(MembershipId("second"))


def test_a_mirror_remembers_only_the_memberships_that_ended_last(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(studyroom.presence.roster, "ENDED_KEPT", 2)
    mirror = Mirror()
    for membership in ("first", "second", "first", "third"):
        mirror.end(MembershipId(membership))
    assert [mirror.has_ended(MembershipId(each)) for each in ("first", "second", "third")] == [True, False, True]


class Change(NamedTuple):
    room: RoomId
    user: UserId
    name: str | None


CHANGES = st.lists(
    st.builds(
        Change,
        room=st.sampled_from([ROOM, OTHER]),
        user=st.sampled_from([ADA, BEN, UserId("cleo")]),
        name=st.sampled_from(["Ada", "Ben", None]),
    ),
    min_size=6,
    max_size=40,
)


@given(CHANGES)
def test_the_mirror_equals_the_log_it_was_built_from(changes: list[Change]):
    mirror, members, last = Mirror(), dict[tuple[RoomId, UserId], tuple[str, int]](), dict[tuple[RoomId, UserId], int]()
    for sequence, change in enumerate(changes, 1):
        key = (change.room, change.user)
        last[key] = sequence
        if change.name is None:
            mirror.remove(change.room, change.user, sequence)
            members.pop(key, None)
        else:
            mirror.put(change.room, change.user, entry(change.name), sequence)
            members[key] = (change.name, sequence)
        assert mirror.applied == sequence
    seats = {(room, user): (seat.entry.profile.username, seat.revision) for room, user, seat in mirror.all_members()}
    assert seats == members
    assert {key: mirror.last_sequence(*key) for key in last} == last
    assert (mirror.member_count, mirror.room_count) == (len(members), len({room for room, _ in members}))
    for room in (ROOM, OTHER):
        digests = [member_digest(user, seat[1]) for (where, user), seat in members.items() if where == room]
        assert mirror.digest(room) == reduce(xor, digests, 0)


@given(st.sets(st.uuids(), min_size=1, max_size=40), st.integers(1, 9))
def test_pages_have_every_room_once_in_order(ids: set[UUID], limit: int):
    mirror = Mirror()
    rooms = [RoomId(str(room)) for room in ids]
    for sequence, room in enumerate(rooms, 1):
        mirror.put(room, ADA, entry(), sequence)
    mirror.remove(rooms[0], ADA, len(rooms) + 1)
    paged: list[RoomId] = []
    for shard in range(SHARDS):
        after = ""
        while page := mirror.rooms_of(shard, after=after, limit=limit):
            assert len(page) <= limit
            paged += page
            after = page[-1]
    assert paged == sorted(rooms[1:], key=lambda room: (shard_of(room), room))


@given(CHANGES, st.integers(0, 2))
def test_a_forgotten_marker_never_becomes_a_wrong_marker(changes: list[Change], kept: int):
    last = dict[tuple[RoomId, UserId], int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studyroom.presence.roster, "MARKERS_KEPT", kept)
        mirror = Mirror()
        for sequence, change in enumerate(changes, 1):
            last[change.room, change.user] = sequence
            if change.name is None:
                mirror.remove(change.room, change.user, sequence)
            else:
                mirror.put(change.room, change.user, entry(change.name), sequence)
    for key, sequence in last.items():
        known = mirror.last_sequence(*key)
        assert known == sequence or (known == 0 and mirror.entry(*key) is None)
