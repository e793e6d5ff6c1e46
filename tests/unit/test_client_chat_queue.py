"""The Python client's queue of own messages: in order, one at a time, and again only while that is safe."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.client.core.chat_queue import ChatQueue
from studyroom.client.values import ChatMessage, Failure

WINDOW_SECONDS = 120.0
UNAVAILABLE = Failure("chat_unavailable", "the message may be stored or not")
TOO_LONG = Failure("chat_too_long", "too long")
LATER = 100.0
"""After every pause, and before a message expires."""


def message(name: str) -> ChatMessage:
    return ChatMessage(name, "ann", "Ann", f"content of {name}", own=True)


def queue_of(*names: str, opened: bool = True) -> ChatQueue:
    queue = ChatQueue(lambda: 0.5)
    for name in names:
        queue.add(message(name))
    if opened:
        queue.open(WINDOW_SECONDS, "ann")
    return queue


def sent(queue: ChatQueue, now: float) -> str | None:
    found, failed = queue.poll(now)
    assert failed == []
    return None if found is None else found.id


def failed(queue: ChatQueue, now: float) -> list[tuple[str, str]]:
    return [(one.id, failure.code) for one, failure in queue.poll(now)[1]]


def test_nothing_is_sent_before_the_room_is_joined():
    queue = queue_of("a", opened=False)
    assert sent(queue, 0) is None
    assert queue.wake_at == math.inf
    queue.open(WINDOW_SECONDS, "ann")
    assert sent(queue, 0) == "a"


def test_the_next_message_waits_until_the_one_before_it_is_stored():
    queue = queue_of("a", "b")
    assert [sent(queue, 0), sent(queue, 0)] == ["a", None]
    assert queue.stored("a") is False
    assert sent(queue, 0) == "b"
    assert [one.id for one in queue.messages] == ["b"]


def test_after_a_lost_connection_a_message_is_sent_again_with_its_id():
    queue = queue_of("a")
    assert sent(queue, 0) == "a"
    queue.hold()
    assert sent(queue, 1) is None
    queue.open(WINDOW_SECONDS, "ann")
    assert sent(queue, 2) == "a"
    assert queue.stored("a") is True, "the answer may come beside the order"


def test_a_refusal_that_may_pass_sends_the_message_again_later_each_time():
    queue = queue_of("a")
    now, pauses = 0.0, []
    for _ in range(3):
        assert sent(queue, now) == "a"
        assert queue.refused("a", UNAVAILABLE, now) is None
        pauses.append(queue.wake_at - now)
        assert sent(queue, now) is None
        now = queue.wake_at
    assert pauses == [0.5, 0.75, 1.25]


def test_after_many_refusals_a_message_is_still_sent_again_within_seconds():
    queue, now = queue_of("a"), 0.0
    for _ in range(12):
        assert sent(queue, now) == "a"
        queue.refused("a", UNAVAILABLE, now)
        assert queue.wake_at - now <= 4.25
        now = queue.wake_at


def test_an_answer_that_does_not_come_counts_as_a_refusal_that_may_pass():
    queue = queue_of("a")
    assert sent(queue, 0) == "a"
    overdue = queue.wake_at
    assert sent(queue, overdue) is None
    assert queue.wake_at > overdue
    assert sent(queue, queue.wake_at) == "a"


def test_a_refusal_for_good_fails_the_message_and_lets_the_next_one_go():
    queue = queue_of("a", "b")
    assert sent(queue, 0) == "a"
    outcome = queue.refused("a", TOO_LONG, 0)
    assert outcome == (message("a"), TOO_LONG)
    assert sent(queue, 0) == "b"


def test_a_refusal_without_an_id_is_about_the_message_under_way():
    queue = queue_of("a")
    assert queue.refused_under_way(TOO_LONG, 0) is None
    assert sent(queue, 0) == "a"
    assert queue.refused_under_way(UNAVAILABLE, 0) is None
    assert queue.refused_under_way(TOO_LONG, 0) == (message("a"), TOO_LONG)


def test_a_message_that_the_server_may_have_forgotten_is_not_sent_again():
    queue = queue_of("a", "b")
    assert sent(queue, 0) == "a"
    queue.hold()
    assert failed(queue, LATER) == []
    assert failed(queue, WINDOW_SECONDS) == [("a", "expired")]
    queue.open(WINDOW_SECONDS, "ann")
    assert sent(queue, WINDOW_SECONDS) == "b", "it has never been sent, so it cannot expire"


def test_a_message_that_is_sent_again_expires_as_long_after_the_first_time():
    queue = queue_of("a")
    assert sent(queue, 0) == "a"
    queue.hold()
    queue.open(WINDOW_SECONDS, "ann")
    assert sent(queue, LATER) == "a"
    queue.hold()
    assert failed(queue, WINDOW_SECONDS) == [("a", "expired")]


def test_a_message_of_a_guest_who_comes_back_as_another_user_is_not_sent_again():
    queue = queue_of("a", "b")
    assert sent(queue, 0) == "a"
    queue.hold()
    queue.open(WINDOW_SECONDS, "another")
    found, gone = queue.poll(1)
    assert [(one.id, failure.code) for one, failure in gone] == [("a", "expired")]
    assert found is not None
    assert found.id == "b"


def test_a_message_beyond_the_limits_fails_without_being_sent():
    queue = queue_of("a", "b", opened=False)
    queue.limit(lambda one: TOO_LONG if one.id == "a" else None)
    assert failed(queue, 0) == [("a", "chat_too_long")]
    queue.open(WINDOW_SECONDS, "ann")
    assert sent(queue, 0) == "b"


def test_when_the_connection_is_closed_for_good_all_messages_fail():
    queue = queue_of("a", "b")
    assert sent(queue, 0) == "a"
    assert [one.id for one, _ in queue.fail_all(Failure("closed", ""))] == ["a", "b"]
    assert queue.messages == ()


@pytest.mark.parametrize("unknown", [True, False])
def test_messages_of_others_change_nothing(unknown: bool):
    queue = queue_of("a")
    assert queue.stored("other") is False
    assert queue.refused("other", UNAVAILABLE if unknown else TOO_LONG, 0) is None
    assert sent(queue, 0) == "a"


@given(st.lists(st.sampled_from(["lose", "return", "store", "refuse", "wait", "long wait"]), max_size=40))
def test_in_any_order_of_events_messages_are_stored_in_order_and_no_id_is_sent_too_late(steps: list[str]):
    names = [str(number) for number in range(4)]
    queue, now = queue_of(*names), 0.0
    first: dict[str, float] = {}
    done: list[str] = []
    under_way: str | None = None
    for step in steps:
        match step:
            case "lose":
                queue.hold()
                under_way = None
            case "return":
                queue.open(WINDOW_SECONDS, "ann")
            case "store" if under_way is not None:
                queue.stored(under_way)
                done.append(under_way)
                under_way = None
            case "refuse" if under_way is not None:
                queue.refused(under_way, UNAVAILABLE, now)
                under_way = None
            case "wait":
                now += 15.0
            case "long wait":
                now += 70.0
            case _:
                pass
        found, gone = queue.poll(now)
        done += [one.id for one, _ in gone]
        if under_way in done:  # it has expired, and its answer comes too late
            under_way = None
        if found is not None:
            under_way = found.id
            assert first.setdefault(found.id, now) + WINDOW_SECONDS > now
    assert done == names[: len(done)]
