from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.lifecycle.balance import AT_LEAST, TOLERANCE, Load, Loads, surplus
from studyroom.shared.contract.ids import GatewayId, new_user_id

COUNTS = st.lists(st.integers(0, 20_000), min_size=1, max_size=12)
FIRST, SECOND = GatewayId("first"), GatewayId("second")


def heard(*loads: Load, at: float = 0.0) -> Loads:
    known = Loads(kept_seconds=7.0, moving_seconds=5.0)
    for load in loads:
        known.receive(load, at)
    return known


def test_a_gateway_alone_lets_nobody_go():
    assert surplus(10_000, []) == 0


def test_an_empty_newcomer_gets_what_is_far_above_the_mean():
    # 3,000 on one of four, the mean is 2,250 and 2,700 are tolerated.
    assert surplus(3000, [3000, 3000, 0]) == 300


def test_a_little_imbalance_is_not_worth_a_move():
    assert surplus(1100, [1000, 1000]) == 0
    assert surplus(AT_LEAST, [0]) == 0


@given(COUNTS, st.integers(0, 20_000))
def test_who_is_not_above_the_mean_lets_nobody_go(others: list[int], own: int):
    mean = (own + sum(others)) / (1 + len(others))
    assert own > mean or surplus(own, others) == 0


@given(COUNTS, st.integers(0, 20_000))
def test_nobody_is_left_below_what_is_tolerated(others: list[int], own: int):
    mean = (own + sum(others)) / (1 + len(others))
    let_go = surplus(own, others)
    assert not let_go or own - let_go >= mean * (1 + TOLERANCE)


@given(COUNTS)
def test_when_all_let_go_what_they_should_all_get_even(counts: list[int]):
    """Whoever is asked goes to the emptiest. It ends, with nobody above what is tolerated."""
    for _ in range(200):
        let_go = [surplus(own, counts[:index] + counts[index + 1 :]) for index, own in enumerate(counts)]
        if not any(let_go):
            return
        counts = [own - gone for own, gone in zip(counts, let_go, strict=True)]
        for _ in range(sum(let_go)):
            counts[counts.index(min(counts))] += 1
    raise AssertionError(counts)


def test_who_was_not_heard_of_for_long_is_gone():
    known = heard(Load(gateway=FIRST, connections=0), at=100.0)
    assert known.surplus(100, 106.0) > 0
    assert known.surplus(100, 108.0) == 0


def test_who_was_asked_to_go_counts_until_another_gateway_has_counted_them():
    known = heard(Load(gateway=FIRST, connections=0), at=100.0)
    assert known.surplus(40, 100.0) == 10
    known.record_shed([new_user_id() for _ in range(10)], 100.0)
    assert known.surplus(30, 104.0) == 0
    assert known.surplus(30, 106.0) == surplus(30, [0]) > 0


def test_a_user_who_came_back_is_asked_again_only_when_there_are_other_gateways():
    known = heard(Load(gateway=FIRST, connections=0))
    user = new_user_id()
    known.surplus(40, 0.0)
    known.record_shed([user], 0.0)
    known.surplus(40, 6.0)
    assert not known.may_ask(user)
    known.receive(Load(gateway=SECOND, connections=0), 6.0)
    known.surplus(40, 6.0)
    assert known.may_ask(user)


def test_more_users_than_there_are_connections_are_not_remembered():
    known = heard(Load(gateway=FIRST, connections=0))
    gone = [new_user_id() for _ in range(41)]
    known.surplus(40, 0.0)
    known.record_shed(gone, 0.0)
    known.surplus(40, 1.0)
    assert all(known.may_ask(user) for user in gone)


def test_while_somebody_leaves_nobody_is_let_go():
    known = heard(Load(gateway=FIRST, connections=0), Load(gateway=SECOND, connections=500, leaving=True))
    assert known.surplus(100, 1.0) == 0
    known.receive(Load(gateway=SECOND, connections=0, leaving=True), 1.0)
    assert known.surplus(100, 1.0) == surplus(100, [0])


def test_a_load_is_what_it_was_on_the_other_side():
    load = Load(gateway=FIRST, connections=7, leaving=True)
    assert Load.decode(load.encode()) == load
