"""The messages that a client may send, by the time that has passed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.connections.limits import PATIENCE_SECONDS, Allowances, refilled, regained

RATE, BURST = 100, 200


@pytest.mark.parametrize(
    ("left", "elapsed", "expected"),
    [(0, 1, 100), (0, 0.01, 1), (-20, 1, 80), (150, 1, 200), (200, 1, 200), (50, -1, 50), (0, 0, 0)],
)
def test_an_allowance_grows_with_the_time_up_to_its_burst(left: float, elapsed: float, expected: float):
    assert refilled(left, elapsed, per_second=RATE, burst=BURST) == pytest.approx(expected)


def test_a_process_that_stood_still_allows_messages_sent_meanwhile_and_takes_the_rest_back():
    left = refilled(150, 22.0, per_second=RATE, burst=BURST)
    assert left == 2200
    left = refilled(left - 1320, 1.0, per_second=RATE, burst=BURST)
    assert left == 780
    for _ in range(10):
        left = refilled(left, 1.0, per_second=RATE, burst=BURST)
    assert left == BURST


@given(steps=st.lists(st.tuples(st.floats(min_value=0, max_value=30), st.integers(min_value=0, max_value=500))))
def test_nobody_ever_gets_more_than_the_rate_and_one_burst(steps: list[tuple[float, int]]):
    left, time_passed, carried_out = float(BURST), 0.0, 0
    for elapsed, wanted in steps:
        time_passed += elapsed
        left = refilled(left, elapsed, per_second=RATE, burst=BURST)
        taken = min(wanted, max(0, int(left)))
        left -= taken
        carried_out += taken
    assert carried_out <= BURST + RATE * time_passed + 1e-6


def test_patience_comes_back_and_has_an_end():
    assert regained(-2.0, 1.0) == 2.0
    assert regained(9.0, 1.0) == regained(-40.0, 100.0) == PATIENCE_SECONDS
    assert regained(1.0, -5.0) == 1.0


def taken(allowances: Allowances, now: float, *, kind: str = "Broadcast", per_second: int = 30) -> int:
    """How many messages of this kind may come now."""
    count = 0
    while allowances.take(kind, per_second, now):
        count += 1
    return count


def test_a_kind_of_messages_has_a_burst_of_two_seconds_and_refills_with_the_time():
    allowances = Allowances()
    assert taken(allowances, 100.0) == 60
    assert taken(allowances, 100.5) == 15
    assert taken(allowances, 200.0) == 60
    assert taken(allowances, 150.0) == 0


def test_kinds_of_messages_do_not_share_their_allowance():
    allowances = Allowances()
    assert taken(allowances, 0.0) == 60
    assert taken(allowances, 0.0, kind="other", per_second=3) == 6


def test_a_message_that_was_refused_does_not_count():
    allowances = Allowances()
    assert taken(allowances, 0.0, per_second=1) == 2
    for _ in range(100):
        assert not allowances.take("Broadcast", 1, 0.5)
    assert allowances.take("Broadcast", 1, 1.0)
