from collections import Counter
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.shared.contract.ids import RoomId, new_user_id
from studyroom.shared.contract.room_hints import Spread, hint_of_part, parse_room_hint, part_of, room_hint

ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
SIZES = st.integers(0, 5000)


@pytest.mark.parametrize(
    ("members", "parts"), [(0, 1), (1, 1), (100, 1), (101, 2), (200, 2), (201, 4), (400, 4), (2000, 32)]
)
def test_a_room_has_as_few_parts_as_its_members_need(members: int, parts: int):
    assert Spread(100).parts(members) == parts


def test_a_room_that_shrinks_keeps_its_parts_until_half_as_many_would_be_half_empty():
    spread = Spread(100)
    assert [spread.parts(members, before=4) for members in (401, 400, 201, 101, 100, 51, 50)] == [8, 4, 4, 4, 2, 2, 1]


def test_no_room_is_divided_without_a_limit():
    assert Spread(0).parts(5000, before=1) == 1


@given(SIZES, SIZES, st.integers(1, 200))
def test_a_member_more_or_less_does_not_change_the_parts_twice(members: int, before: int, limit: int):
    spread = Spread(limit)
    parts = spread.parts(members, spread.parts(before))
    assert members <= limit * parts
    assert parts & (parts - 1) == 0
    smaller = spread.parts(max(0, members - 1), parts)
    assert spread.parts(members, smaller) == smaller or members == limit * smaller + 1


def test_the_hint_of_the_first_part_is_the_room():
    assert hint_of_part(ROOM, 0) == ROOM
    assert {room_hint(ROOM, new_user_id(), 1) for _ in range(10)} == {ROOM}


def test_hints_are_valid_and_the_same_everywhere():
    hints = [hint_of_part(ROOM, part) for part in range(4)]
    assert len(set(hints)) == 4
    assert hints == [hint_of_part(ROOM, part) for part in range(4)]
    assert [parse_room_hint(hint) for hint in hints] == hints
    assert hints[1] == "919446ee-104d-506e-9eac-20ca0f91afae"


def test_half_of_the_users_keep_their_hint_when_parts_double():
    users = [new_user_id() for _ in range(4000)]
    kept = sum(room_hint(ROOM, user, 4) == room_hint(ROOM, user, 8) for user in users)
    assert 0.45 < kept / len(users) < 0.55


def test_users_spread_evenly_over_the_parts():
    counts = Counter(part_of(new_user_id(), 16) for _ in range(16_000))
    assert len(counts) == 16
    assert max(counts.values()) < 1200


@pytest.mark.parametrize("text", [None, "", "nonsense", "550e8400e29b41d4a716446655440000", f"{ROOM} ", "0" * 36])
def test_a_hint_that_load_balancers_do_not_take_is_none(text: str | None):
    assert parse_room_hint(text) is None


def test_capitals_in_a_hint_do_not_matter():
    room = str(uuid4())
    assert parse_room_hint(room.upper()) == room
