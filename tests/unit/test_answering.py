"""Which requests presence may still answer, by what it knows of when NATS delivered them."""

import re

from studyroom.presence.answering import ANSWER_SECONDS, FRESH_SECONDS, Answering
from tests.support.accounts import DEPLOYED


def test_a_request_is_as_old_as_the_last_ping_that_nats_had_answered_before_it():
    answering = Answering(100.0)
    answering.answered(answering.connection, 105.0)
    arrival = answering.arrived()
    assert answering.is_within(FRESH_SECONDS, arrival, 105.0 + FRESH_SECONDS)
    assert not answering.is_within(FRESH_SECONDS, arrival, 105.1 + FRESH_SECONDS)
    assert answering.is_within(ANSWER_SECONDS, arrival, 105.0 + ANSWER_SECONDS)
    assert not answering.is_within(ANSWER_SECONDS, arrival, 105.1 + ANSWER_SECONDS)


def test_what_waited_while_this_process_was_frozen_is_not_taken_for_new():
    answering = Answering(0.0)
    answering.answered(answering.connection, 10.0)
    # Frozen from 10 to 30: what NATS sent meanwhile is read before its answer to the next ping.
    waited = answering.arrived()
    answering.answered(answering.connection, 30.0)
    new = answering.arrived()
    assert not answering.is_within(FRESH_SECONDS, waited, 30.1)
    assert not answering.is_within(ANSWER_SECONDS, waited, 30.1)
    assert answering.is_within(FRESH_SECONDS, new, 30.1)


def test_a_request_of_an_earlier_connection_is_not_answered():
    answering = Answering(0.0)
    arrival = answering.arrived()
    answering.disconnected(1.0)
    assert not answering.is_within(FRESH_SECONDS, arrival, 1.0)
    assert not answering.is_within(ANSWER_SECONDS, arrival, 1.0)
    assert answering.is_within(ANSWER_SECONDS, answering.arrived(), 1.0)


def test_an_answer_to_a_ping_of_an_earlier_connection_says_nothing_of_this_one():
    answering = Answering(0.0)
    before = answering.connection
    answering.disconnected(1.0)
    answering.answered(before, 50.0)
    assert not answering.is_within(ANSWER_SECONDS, answering.arrived(), 1.1 + ANSWER_SECONDS)


def test_nats_takes_an_answer_for_longer_than_presence_gives_one():
    allowed = re.findall(r'allow_responses: \{ max: -1, expires: "(\d+)s" \}', (DEPLOYED / "accounts.conf").read_text())
    assert [int(seconds) - ANSWER_SECONDS >= 3 for seconds in allowed] == [True]
