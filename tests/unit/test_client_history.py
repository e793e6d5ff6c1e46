"""The Python client's messages of a room: in order, each once, and the position from which it resumes."""

from typing import Any

from studyroom.client.core.history import History, Resume
from studyroom.client.values import ChatMessage
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.messages import JoinedRoomPayload

ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
LENGTH = 50


def joined(history: int = 0, **fields: Any) -> JoinedRoomPayload:
    return JoinedRoomPayload(room_id=ROOM, users=[], epoch=fields.pop("epoch", "e"), history=history, **fields)


def message(seq: int, content: str = "") -> ChatMessage:
    return ChatMessage(f"m{seq}", "bob", "Bob", content, own=False, timestamp=0, seq=seq)


def add(history: History, *seqs: int, in_order: bool = True) -> list[bool]:
    return [history.add(message(seq), seq, in_order=in_order) for seq in seqs]


def begun(*seqs: int, limit: int = 1000, history: int | None = None) -> History:
    found = History(limit)
    found.joined(joined(len(seqs) if history is None else history, last_seq=max(seqs, default=0)), LENGTH)
    add(found, *seqs)
    return found


def seqs_of(history: History) -> list[int | None]:
    return [one.seq for one in history.messages]


def test_a_newcomer_has_no_position_and_resumes_after_the_newest_message_later():
    history = History(10)
    assert history.resume == Resume(None, None)
    assert history.joined(joined(2, last_seq=7), LENGTH) is False
    assert history.complete is False
    assert history.resume == Resume(None, None), "the messages that follow move the position"
    assert add(history, 5, 7) == [True, True]
    assert history.complete
    assert history.resume == Resume(7, "e")


def test_in_a_room_without_messages_the_position_is_that_of_the_room():
    history = History(10)
    history.joined(joined(last_seq=42), LENGTH)
    assert history.resume == Resume(42, "e")


def test_after_a_resume_the_missed_messages_follow_those_that_are_shown():
    history = begun(5, 7)
    assert history.joined(joined(1, recovered=True, last_seq=9), LENGTH) is False
    assert history.complete is False
    assert add(history, 9) == [True]
    assert seqs_of(history) == [5, 7, 9]


def test_a_history_that_is_not_recovered_starts_over():
    history = begun(5, 7)
    assert history.joined(joined(1, recovered=False, epoch="f", last_seq=2), LENGTH) is True
    assert add(history, 2) == [True]
    assert seqs_of(history) == [2]
    assert history.resume == Resume(2, "f")


def test_the_answer_to_a_message_that_was_sent_again_is_put_in_its_place_and_moves_nothing():
    history = begun(5, 9)
    assert add(history, 7, in_order=False) == [True]
    assert add(history, 7, in_order=False) == [False]
    assert seqs_of(history) == [5, 7, 9]
    assert add(history, 12, in_order=False) == [True]
    assert history.resume == Resume(9, "e"), "10 and 11 may still come"


def test_a_deleted_message_goes_and_its_notice_moves_the_position():
    history = begun(5, 7)
    history.remove(5, 8)
    assert seqs_of(history) == [7]
    assert history.resume == Resume(8, "e")


def test_a_reset_forgets_the_position_and_keeps_the_messages_until_the_next_join():
    history = begun(5, 7)
    history.reset("f")
    assert (history.resume, seqs_of(history)) == (Resume(None, None), [5, 7])
    assert history.joined(joined(0, epoch="f", last_seq=3), LENGTH) is True
    assert seqs_of(history) == []


def test_after_a_lost_connection_no_earlier_message_is_awaited():
    history = begun(history=3)
    assert history.complete is False
    history.interrupted()
    assert history.complete


def test_the_oldest_messages_go_beyond_the_limit_and_can_be_loaded_again():
    history = begun(1, 2, 3, limit=2)
    assert seqs_of(history) == [2, 3]
    assert history.has_more
    assert history.loading() == 2
    assert history.loaded([message(1)], None) == (message(1),)
    assert seqs_of(history) == [1, 2, 3]
    assert (history.has_more, history.is_whole) == (False, True)


def test_a_page_has_neither_messages_that_are_there_nor_deleted_ones():
    history = begun(8, 9)
    history.loading()
    history.remove(5, 10)
    assert history.loaded([message(4), message(5), message(8)], 4) == (message(4),)
    assert seqs_of(history) == [4, 8, 9]
    assert (history.before, history.has_more) == (4, True)


def test_there_may_be_more_if_the_room_gave_as_much_as_it_gives_at_most():
    assert begun(*range(1, LENGTH + 1)).has_more
    assert not begun(*range(1, LENGTH)).has_more


def test_there_may_be_more_if_the_messages_were_too_large_together():
    history = History(1000)
    history.joined(joined(5, last_seq=5), LENGTH)
    for seq in range(1, 6):
        history.add(message(seq, "x" * 60_000), seq, in_order=True)
    assert history.has_more
