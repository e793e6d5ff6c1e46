from typing import Any

import pytest

from studyroom.shared.chassis.nats.leadership import has_leader

SECOND_NS = 1_000_000_000


def replica(seconds: float, *, current: bool = True) -> dict[str, Any]:
    return {"name": "n1", "current": current, "active": int(seconds * SECOND_NS)}


def test_a_server_alone_leads():
    assert has_leader(None)


def test_a_stream_with_one_copy_is_led_by_the_server_that_has_it():
    assert has_leader({"leader": "n0"})


def test_a_server_that_names_no_leader_answers_for_its_own_copy():
    assert not has_leader({"replicas": [replica(0.5), replica(0.5)]})
    assert not has_leader({"leader": "", "replicas": [replica(0.5), replica(0.5)]})


@pytest.mark.parametrize(
    ("answered", "led"),
    [([0.5, 0.5], True), ([2.1, 60], True), ([3.1, 3.1], False), ([0.5], True), ([3.1], False),
     ([0.5, 0.5, 60, 60], True), ([0.5, 60, 60, 60], False)],
)  # fmt: skip
def test_a_leader_needs_a_majority_that_has_answered_it_lately(answered: list[float], led: bool):
    assert has_leader({"leader": "n0", "replicas": [replica(seconds) for seconds in answered]}) is led


def test_a_server_that_has_never_answered_this_leader_does_not_count():
    assert not has_leader({"leader": "n0", "replicas": [replica(0, current=False), replica(60)]})
    assert has_leader({"leader": "n0", "replicas": [replica(0), replica(60)]})
