from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.connections.registry import ConnectionCounts
from studyroom.gateway.edge.rates import FixedWindow, TokenBucket, TokenBuckets
from studyroom.shared.contract.ids import UserId

ANN, BEN = UserId("ann"), UserId("ben")
HERE, THERE = b"\x7f\x00\x00\x01", b"\xcb\x00\x71\x07"


def test_a_bucket_gives_two_seconds_worth_at_once_and_then_its_rate():
    bucket = TokenBucket(10)
    assert sum(bucket.take(100.0) for _ in range(50)) == 20
    assert sum(bucket.take(100.5) for _ in range(50)) == 5
    assert sum(bucket.take(1000.0) for _ in range(50)) == 20


@given(
    waits=st.lists(st.floats(min_value=0, max_value=3), max_size=60), per_second=st.integers(min_value=1, max_value=5)
)
def test_a_bucket_never_gives_more_than_its_rate_and_its_burst(waits: list[float], per_second: int):
    bucket, now, given_out = TokenBucket(per_second), 0.0, 0
    for wait in waits:
        now += wait
        given_out += bucket.take(now)
    assert given_out <= per_second * now + 2 * per_second + 1e-6


def test_a_clock_that_steps_back_gives_nothing():
    bucket = TokenBucket(1)
    assert [bucket.take(10.0), bucket.take(10.0), bucket.take(5.0), bucket.take(5.9)] == [True, True, False, False]


def test_every_address_has_its_share_of_each_second():
    requests = FixedWindow(2)
    assert [requests.take(HERE, 7.1), requests.take(HERE, 7.2), requests.take(HERE, 7.9)] == [True, True, False]
    assert requests.take(THERE, 7.9)
    assert requests.take(HERE, 8.0)


def test_an_address_that_left_is_forgotten():
    crowd = ConnectionCounts()
    crowd.add(ANN, HERE)
    crowd.add(ANN, THERE)
    crowd.add(BEN, HERE)
    assert (crowd.of_user(ANN), crowd.of_address(HERE), crowd.of_user(UserId("cy"))) == (2, 2, 0)
    assert (crowd.most_of_a_user(), crowd.most_of_an_address()) == (2, 2)
    for user, address in ((ANN, HERE), (ANN, THERE), (BEN, HERE)):
        crowd.remove(user, address)
    assert (crowd.of_user(ANN), crowd.of_address(HERE), crowd.most_of_a_user(), crowd.most_of_an_address()) == (0,) * 4


def test_every_key_has_a_bucket_of_its_own_until_it_is_full_again():
    buckets = TokenBuckets(1)
    assert [buckets.of(HERE, 100.0).take(100.0) for _ in range(3)] == [True, True, False]
    assert buckets.of(THERE, 100.0).take(100.0)
    for number in range(1000):
        assert buckets.of(number, 200.0 + number).take(200.0 + number)
    assert len(buckets) < 100
