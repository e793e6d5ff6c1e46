"""Ticks: regular work of one process ends together."""

import time

import pytest

from studyroom.shared.chassis.ticks import seconds_to_tick


def test_intervals_that_are_multiples_of_each_other_end_together():
    first, *others = (time.monotonic() + seconds_to_tick(seconds) for seconds in (1.0, 2.0, 3.0, 60.0))
    for other in others:
        apart = other - first
        assert apart == pytest.approx(round(apart), abs=0.01)


def test_a_tick_does_not_follow_at_once_when_a_timer_ended_a_little_early():
    for _ in range(1000):
        assert 0.00005 <= seconds_to_tick(0.0001) <= 0.00015
