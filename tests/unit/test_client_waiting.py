"""When the Python client waits, asks, gives up and stops: backoff, heartbeat, throttles and refusals."""

import math

import pytest

from studyroom.client.core.backoff import Backoff
from studyroom.client.core.liveness import Heartbeat, Liveness, Verdict
from studyroom.client.core.own_typing import OwnTyping
from studyroom.client.core.refusals import Refusals, is_transient
from studyroom.client.core.throttle import Throttle


def test_the_bound_of_the_wait_doubles_up_to_the_cap_and_the_jitter_comes_after_it():
    backoff = Backoff(0.5, 20)
    assert [backoff.wait(failures, lambda: 1.0) for failures in (0, 1, 2, 5, 6, 10_000)] == [0.5, 1, 2, 16, 20, 20]
    assert backoff.wait(10_000, lambda: 0.0) == 0
    assert backoff.wait(10_000, lambda: 0.25) == 5


def test_a_silent_peer_is_asked_and_given_up_when_it_does_not_answer():
    liveness = Liveness(0, Heartbeat(15, 8))
    assert liveness.poll(14) is Verdict.ALIVE
    assert liveness.poll(15) is Verdict.ASK
    assert liveness.wake_at == 23
    assert liveness.poll(23) is Verdict.DEAD


def test_any_message_shows_that_the_peer_is_there():
    liveness = Liveness(0, Heartbeat(15, 8))
    assert liveness.poll(15) is Verdict.ASK
    liveness.received(20)
    assert liveness.poll(23) is Verdict.ALIVE
    assert liveness.wake_at == 35


def test_a_timer_that_rings_late_asks_once_more():
    liveness = Liveness(0, Heartbeat(15, 8))
    assert liveness.poll(15) is Verdict.ASK
    assert liveness.poll(300) is Verdict.ASK, "an answer may be waiting to be read"
    assert liveness.poll(600) is Verdict.DEAD


def test_the_first_of_many_values_goes_at_once_and_the_last_after_the_interval():
    throttle = Throttle[int](0.05)
    assert throttle.wake_at == math.inf
    throttle.put(1)
    assert throttle.take(10.0) == 1
    for value in (2, 3):
        throttle.put(value)
    assert throttle.take(10.04) is None
    assert throttle.wake_at == 10.05
    assert throttle.take(10.05) == 3
    assert throttle.take(20.0) is None


def test_typing_is_repeated_while_the_user_types_and_ends_after_a_pause():
    typing = OwnTyping()
    assert typing.set(0, is_typing=True) is True
    assert typing.set(1, is_typing=True) is None
    assert typing.set(4, is_typing=True) is True
    assert typing.poll(9) is None
    assert typing.poll(10) is False
    assert typing.poll(20) is None
    assert typing.set(21, is_typing=False) is None
    assert typing.set(22, is_typing=True) is True
    assert typing.set(23, is_typing=False) is False


@pytest.mark.parametrize("code", ["banned", "origin_not_allowed", "not_found", "upgrade_required"])
def test_a_refusal_that_would_come_again_stops_the_client(code: str):
    assert Refusals(renews_token=True).is_final(code)


@pytest.mark.parametrize("code", ["draining", "too_many_of_user", "keys_unavailable", "connection_lost"])
def test_a_refusal_that_passes_does_not_stop_the_client(code: str):
    refusals = Refusals(renews_token=False)
    assert not any(refusals.is_final(code) for _ in range(10))


def test_a_fixed_token_is_tried_once_and_a_function_for_tokens_three_times_in_a_row():
    assert Refusals(renews_token=False).is_final("unauthorized")
    refusals = Refusals(renews_token=True)
    assert [refusals.is_final("unauthorized") for _ in range(2)] == [False, False]
    refusals.accepted()
    assert [refusals.is_final("unauthorized") for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, True) for code in ("chat_unavailable", "rate_limited", "not_in_room", "internal")),
        *((code, False) for code in ("chat_storage_full", "room_full", "chat_too_long")),
    ],
)
def test_only_a_refusal_that_may_pass_is_followed_by_another_attempt(code: str, expected: bool):
    assert is_transient(code) is expected
