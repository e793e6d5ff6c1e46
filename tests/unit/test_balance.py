from dataclasses import dataclass
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.lifecycle.balance import (
    AT_LEAST,
    TOLERANCE,
    Load,
    Loads,
    choose_to_shed,
    small_rooms_first,
    surplus,
)
from studyroom.shared.contract.ids import GatewayId, RoomId, new_user_id


@dataclass(frozen=True)
class Connection:
    room: str | None


def crowd(**rooms: int) -> list[Connection]:
    return [Connection(room) for room, size in rooms.items() for _ in range(size)]


COUNTS = st.lists(st.integers(0, 20_000), min_size=1, max_size=12)
FIRST, SECOND = GatewayId("first"), GatewayId("second")


def loads_of(*loads: Load, at: float = 0.0) -> Loads:
    known = Loads(kept_seconds=7.0, moving_seconds=5.0)
    for load in loads:
        known.receive(load, at)
    return known


def test_a_gateway_alone_lets_nobody_go():
    assert surplus(10_000, []) == 0


def test_an_empty_newcomer_gets_connections_far_above_the_mean():
    # 3,000 on one of four, the mean is 2,250 and 2,700 are tolerated.
    assert surplus(3000, [3000, 3000, 0]) == 300


def test_a_little_imbalance_is_not_worth_a_move():
    assert surplus(1100, [1000, 1000]) == 0
    assert surplus(AT_LEAST, [0]) == 0


@given(COUNTS, st.integers(0, 20_000))
def test_a_gateway_that_is_not_above_the_mean_lets_nobody_go(others: list[int], own: int):
    mean = (own + sum(others)) / (1 + len(others))
    assert own > mean or surplus(own, others) == 0


@given(COUNTS, st.integers(0, 20_000))
def test_no_gateway_is_left_below_the_tolerance(others: list[int], own: int):
    mean = (own + sum(others)) / (1 + len(others))
    let_go = surplus(own, others)
    assert not let_go or own - let_go >= mean * (1 + TOLERANCE)


@given(COUNTS)
def test_when_all_let_go_of_their_surplus_all_get_even(counts: list[int]):
    """Every client that is asked goes to the emptiest. It ends, with no gateway above the tolerance."""
    for _ in range(200):
        let_go = [surplus(own, counts[:index] + counts[index + 1 :]) for index, own in enumerate(counts)]
        if not any(let_go):
            return
        counts = [own - gone for own, gone in zip(counts, let_go, strict=True)]
        for _ in range(sum(let_go)):
            counts[counts.index(min(counts))] += 1
    raise AssertionError(counts)


def test_a_gateway_that_has_not_reported_for_long_is_gone():
    known = loads_of(Load(gateway=FIRST, connections=0), at=100.0)
    assert known.surplus(100, 106.0) > 0
    assert known.surplus(100, 108.0) == 0


def test_users_that_were_asked_to_go_count_until_another_gateway_has_counted_them():
    known = loads_of(Load(gateway=FIRST, connections=0), at=100.0)
    assert known.surplus(40, 100.0) == 10
    known.record_shed([new_user_id() for _ in range(10)], 100.0)
    assert known.surplus(30, 104.0) == 0
    assert known.surplus(30, 106.0) == surplus(30, [0]) > 0


def test_a_user_who_came_back_is_asked_again_only_when_there_are_other_gateways():
    known = loads_of(Load(gateway=FIRST, connections=0))
    user = new_user_id()
    known.surplus(40, 0.0)
    known.record_shed([user], 0.0)
    known.surplus(40, 6.0)
    assert not known.may_ask(user)
    known.receive(Load(gateway=SECOND, connections=0), 6.0)
    known.surplus(40, 6.0)
    assert known.may_ask(user)


def test_no_more_users_are_remembered_than_a_limit_or_than_there_are_connections():
    known = loads_of(Load(gateway=FIRST, connections=0))
    gone = [new_user_id() for _ in range(10_001)]
    known.surplus(40, 0.0)
    known.record_shed(gone, 0.0)
    known.surplus(20_000, 1.0)
    assert not any(known.may_ask(user) for user in gone)
    known.surplus(40, 1.0)
    assert all(known.may_ask(user) for user in gone)


def test_a_gateway_that_drains_is_none_of_those_that_take_clients():
    known = loads_of(Load(gateway=FIRST, connections=5), Load(gateway=SECOND, connections=0), at=1.0)
    known.surplus(5, 2.0)
    assert (known.changed_at, known.alone, known.arriving) == (2.0, False, False)
    known.receive(Load(gateway=FIRST, connections=5, leaving=True), 3.0)
    known.surplus(5, 4.0)
    assert (known.changed_at, known.alone, known.arriving) == (4.0, False, True)
    known.receive(Load(gateway=SECOND, connections=0, leaving=True), 5.0)
    known.surplus(5, 6.0)
    assert known.alone


def test_while_somebody_leaves_nobody_is_let_go():
    known = loads_of(Load(gateway=FIRST, connections=0), Load(gateway=SECOND, connections=500, leaving=True))
    assert known.surplus(100, 1.0) == 0
    known.receive(Load(gateway=SECOND, connections=0, leaving=True), 1.0)
    assert known.surplus(100, 1.0) == surplus(100, [0])


def test_a_load_is_the_same_on_the_other_side():
    load = Load(gateway=FIRST, connections=7, leaving=True, homes=(RoomId(str(uuid4())),))
    assert Load.decode(load.encode()) == load


def test_connections_outside_rooms_come_first_and_then_small_rooms():
    connections = [*crowd(large=3, small=1, middle=2), Connection(None), Connection(None)]
    groups = small_rooms_first(connections)
    assert [len(group) for group in groups] == [1, 1, 1, 2, 3]
    assert [group[0].room for group in groups] == [None, None, "small", "middle", "large"]


def test_whole_rooms_go_until_the_next_one_is_too_large():
    groups = small_rooms_first(crowd(one=3, two=4, three=8))
    assert choose_to_shed(groups, 10, at_once=100) == crowd(one=3, two=4)


def test_no_more_rooms_go_at_once_than_are_needed_for_the_rate():
    groups = small_rooms_first(crowd(one=3, two=4, three=8))
    assert choose_to_shed(groups, 100, at_once=1) == crowd(one=3)
    assert choose_to_shed(groups, 100, at_once=5) == crowd(one=3, two=4)
    assert choose_to_shed(groups, 100, at_once=0) == []
    assert choose_to_shed(groups, 100, at_once=-3) == []


def test_where_every_room_is_too_large_some_members_of_the_largest_go():
    groups = small_rooms_first(crowd(one=30, two=40))
    assert choose_to_shed(groups, 10, at_once=5) == crowd(two=5)
    assert choose_to_shed(groups, 3, at_once=5) == crowd(two=3)
