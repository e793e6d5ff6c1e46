"""Requests that presence may still answer, by the time at which NATS delivered them."""

import re

from studyroom.presence.request_ages import ANSWER_SECONDS, FRESH_SECONDS, RequestAges
from tests.support.accounts import DEPLOYED


def test_a_request_is_as_old_as_the_last_ping_that_nats_had_answered_before_it():
    request_ages = RequestAges(100.0)
    request_ages.ping_answered(request_ages.connection, 105.0)
    arrival = request_ages.arrival()
    assert request_ages.is_within(FRESH_SECONDS, arrival, 105.0 + FRESH_SECONDS)
    assert not request_ages.is_within(FRESH_SECONDS, arrival, 105.1 + FRESH_SECONDS)
    assert request_ages.is_within(ANSWER_SECONDS, arrival, 105.0 + ANSWER_SECONDS)
    assert not request_ages.is_within(ANSWER_SECONDS, arrival, 105.1 + ANSWER_SECONDS)


def test_a_request_that_waited_while_this_process_was_frozen_is_not_taken_for_new():
    request_ages = RequestAges(0.0)
    request_ages.ping_answered(request_ages.connection, 10.0)
    # Frozen from 10 to 30: the messages that NATS sent meanwhile are read before its answer to the next ping.
    waited = request_ages.arrival()
    request_ages.ping_answered(request_ages.connection, 30.0)
    new = request_ages.arrival()
    assert not request_ages.is_within(FRESH_SECONDS, waited, 30.1)
    assert not request_ages.is_within(ANSWER_SECONDS, waited, 30.1)
    assert request_ages.is_within(FRESH_SECONDS, new, 30.1)


def test_a_request_of_an_earlier_connection_is_not_answered():
    request_ages = RequestAges(0.0)
    arrival = request_ages.arrival()
    request_ages.disconnected(1.0)
    assert not request_ages.is_within(FRESH_SECONDS, arrival, 1.0)
    assert not request_ages.is_within(ANSWER_SECONDS, arrival, 1.0)
    assert request_ages.is_within(ANSWER_SECONDS, request_ages.arrival(), 1.0)


def test_an_answer_to_a_ping_of_an_earlier_connection_proves_nothing():
    request_ages = RequestAges(0.0)
    before = request_ages.connection
    request_ages.disconnected(1.0)
    request_ages.ping_answered(before, 50.0)
    assert not request_ages.is_within(ANSWER_SECONDS, request_ages.arrival(), 1.1 + ANSWER_SECONDS)


def test_nats_accepts_an_answer_for_longer_than_presence_takes_to_give_it():
    allowed = re.findall(r'allow_responses: \{ max: -1, expires: "(\d+)s" \}', (DEPLOYED / "accounts.conf").read_text())
    assert [int(seconds) - ANSWER_SECONDS >= 3 for seconds in allowed] == [True, True]  # of presence and documents
