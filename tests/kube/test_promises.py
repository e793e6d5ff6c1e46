"""The table of the check shows each promise that was not kept."""

import pytest

from tests.kube.history import Outcome
from tests.kube.promises import Promise, Result, table

PROMISE = Promise(outside_seconds=5, chat_seconds=10)


def result(outcome: Outcome, promise: Promise = PROMISE, **fields: str) -> Result:
    return Result("roll-gateway", promise, outcome, **fields)


def test_a_step_that_costs_no_more_than_it_promises_is_kept():
    kept = result(Outcome(messages=7, seconds_outside=5, seconds_without_chat=9.9), note="3 refused")
    assert kept.broken == []
    assert table([kept]).splitlines()[1].split() == [
        "roll-gateway", "7", "0", "0", "0", "5.0", "of", "5", "9.9", "of", "10", "kept,", "3", "refused",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (Outcome(lost=["a"]), "1 lost, 0 allowed"),
        (Outcome(doubled=["a", "b"]), "2 doubled, 0 allowed"),
        (Outcome(left=["a"]), "1 reported as left, 0 allowed"),
        (Outcome(resets=1), "1 resets, 0 allowed"),
        (Outcome(wrong=["a ghost"]), "a ghost"),
        (Outcome(seconds_outside=5.1), "5.1 s without a connection, 5 allowed"),
        (Outcome(seconds_without_chat=10.1), "10.1 s without chat, 10 allowed"),
    ],
)
def test_each_promise_can_be_broken(outcome: Outcome, problem: str):
    assert result(outcome).broken == [problem]
    assert "BROKEN" in table([result(outcome)])


def test_a_promise_without_a_bound_is_shown_and_not_judged():
    promise = Promise(outside_seconds=5, chat_seconds=10, left=None, resets=None)
    assert result(Outcome(left=["a"], resets=3), promise).broken == []


def test_a_cluster_that_does_not_do_its_part_breaks_the_promise():
    assert result(Outcome(), failure="it was not restarted").broken == ["it was not restarted"]


def test_a_step_that_was_not_carried_out_is_shown_with_the_reason():
    skipped = result(Outcome(lost=["a"]), skipped="without an image of the version before")
    assert skipped.broken == []
    assert table([skipped]).splitlines()[1].endswith("not run: without an image of the version before")
