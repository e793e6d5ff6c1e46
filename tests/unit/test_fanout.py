"""The room's share of the loop: `gateway.fanout.rest_seconds`."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.fanout import rest_seconds


@given(st.floats(0, 10))
def test_a_room_never_takes_more_than_a_quarter_of_the_loop(flush: float):
    assert rest_seconds(flush) >= 3 * flush


@given(st.floats(0, 0.0001))
def test_a_small_room_rests_for_less_than_anyone_could_see(flush: float):
    assert rest_seconds(flush) < 0.001


@given(st.floats(0, 0.01))
def test_a_large_room_rests_longer_but_not_so_that_anyone_would_see(flush: float):
    assert 3 * flush <= rest_seconds(flush) <= 0.044 - flush
