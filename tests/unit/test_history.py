"""With any losses and repetitions on the way, the output is the room's chat: every message once, in order."""

import random
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.rooms.history import History, Stored, Verdict, only_chat
from studyroom.shared.contract.chat import encode_tombstone
from studyroom.shared.contract.ids import MessageId

KEPT = 8


def stored(sequence: int, second: int = 0) -> Stored:
    return Stored(sequence, b"%d" % sequence, f"2026-11-24T09:00:{second:02}.5Z")


def tombstone(sequence: int, deleted: int) -> Stored:
    return Stored.of(sequence, encode_tombstone(MessageId("m"), deleted), "2026-11-24T09:00:00.5Z")


def begun(*sequences: int, reach: int = 0) -> History:
    """A room that has these messages after `reach`."""
    history = History(KEPT)
    history.begin(reach)
    history.fill([stored(sequence) for sequence in sequences], sequences[-1] if sequences else reach)
    return history


def numbers(lines: Iterable[Stored]) -> list[int]:
    return [line.sequence for line in lines]


def test_the_next_message_is_delivered_at_once():
    history = begun(3, 7)
    assert history.receive(stored(9), 7) is Verdict.NEXT
    assert history.position == 9
    assert not history.incomplete


def test_a_message_that_was_delivered_is_not_delivered_again():
    history = begun(3, 7)
    assert history.receive(stored(7), 3) is Verdict.OLD
    assert history.position == 7


def test_a_message_after_a_gap_waits_until_it_is_filled():
    history = begun(3)
    assert history.receive(stored(9), 7) is Verdict.AFTER_GAP
    assert history.receive(stored(11), 9) is Verdict.AFTER_GAP
    assert history.incomplete
    assert history.awaited == 9
    assert numbers(history.fill([stored(5), stored(7)], 7)) == [5, 7, 9, 11]
    assert not history.incomplete


def test_a_lower_message_before_it_shows_that_older_messages_have_expired():
    history = begun(3, 7)
    assert history.receive(stored(9), 0) is Verdict.NEXT


def test_a_message_that_may_be_from_another_stream_waits():
    history = begun(3)
    assert history.receive(stored(4), 3, sure=False) is Verdict.AFTER_GAP
    assert history.receive(stored(5), 4) is Verdict.AFTER_GAP
    assert numbers(history.fill([], 3)) == [4, 5]


def test_a_message_that_is_fetched_and_received_is_delivered_once():
    history = begun(3)
    history.receive(stored(9), 7)
    assert numbers(history.fill([stored(7), stored(9)], 9)) == [7, 9]
    assert history.receive(stored(9), 7) is Verdict.OLD


def test_a_received_message_that_expired_before_it_was_fetched_is_delivered():
    history = begun(3)
    history.receive(stored(9), 7)
    assert numbers(history.fill([], 9)) == [9]


def test_a_gap_after_the_fetched_messages_is_another_gap():
    history = begun(3)
    history.receive(stored(9), 7)
    history.receive(stored(15), 13)
    assert numbers(history.fill([stored(7)], 7)) == [7, 9]
    assert history.incomplete
    assert history.awaited == 13
    assert numbers(history.fill([stored(13)], 13)) == [13, 15]


def test_before_its_beginning_is_known_a_room_delivers_nothing_and_loses_nothing():
    history = History(KEPT)
    assert history.receive(stored(9), 7) is Verdict.AFTER_GAP
    assert history.incomplete
    history.begin(4)
    assert numbers(history.fill([stored(5), stored(7)], 7)) == [5, 7, 9]


def test_a_position_of_the_whole_stream_does_for_an_empty_room():
    history = begun(reach=100)
    assert history.receive(stored(120), 0) is Verdict.NEXT
    assert history.reach == 100


def test_the_newest_are_remembered_and_all_messages_after_a_position_are_returned():
    history = begun(*range(1, 21))
    assert history.reach == 20 - KEPT
    assert numbers(history.newest(3)) == [18, 19, 20]
    assert numbers(history.newest(0)) == []
    assert numbers(history.after(17)) == [18, 19, 20]
    assert numbers(history.after(20)) == []
    assert numbers(history.after(history.reach)) == list(range(13, 21))


def test_messages_that_are_too_old_are_not_shown():
    history = History(KEPT)
    history.begin(0)
    history.fill([stored(1, second=10), stored(2, second=20), stored(3, second=30)], 3)
    assert numbers(history.newest(5, not_before="2026-11-24T09:00:20")) == [2, 3]


def test_a_message_read_back_is_another_than_members_know_only_if_it_differs_or_came_later():
    history = begun(2, 5, *range(10, 10 + KEPT))
    newest = stored(30, second=5)
    assert history.receive(newest, 9 + KEPT) is Verdict.NEXT
    assert not history.is_another(newest)
    assert not history.is_another(stored(13))
    assert history.is_another(Stored(13, b"something else", stored(13).time))
    assert not history.is_another(stored(5))  # not remembered, and as old as the remembered messages
    assert history.is_another(stored(5, second=6))
    assert history.is_another(stored(20, second=6))  # members know none by it
    assert not history.is_another(stored(20))  # as when it was deleted


def test_a_room_that_forgot_starts_again():
    history = begun(3, 7)
    history.receive(stored(20), 15)
    history.forget()
    assert history.incomplete
    assert not history.passed(1)
    history.begin(0)
    assert numbers(history.fill([stored(1)], 1)) == [1]


@given(st.integers(0, 2**32), st.integers(0, 60), st.floats(0, 0.9), st.floats(0, 0.9))
def test_with_any_losses_and_repetitions_every_message_comes_once_and_in_order(
    seed: int, already: int, loss: float, repetition: float
):
    dice = random.Random(seed)
    sequences = sorted(dice.sample(range(1, 400), 80))
    delivered = sequences[:already]
    history = begun(*delivered)
    for index in range(already, len(sequences)):
        sequence, previous = sequences[index], sequences[index - 1] if index else 0
        for _ in range(1 + (dice.random() < repetition)):
            if dice.random() >= loss and history.receive(stored(sequence), previous) is Verdict.NEXT:
                delivered.append(sequence)
        if history.incomplete and dice.random() < 0.3:
            up_to = dice.choice([history.awaited, sequence])
            reached = dice.choice([up_to, sequence])
            position = history.position or 0
            fetched = [stored(one) for one in sequences if position < one <= reached]
            delivered += numbers(history.fill(fetched, up_to))
    position = history.position or 0
    delivered += numbers(history.fill([stored(one) for one in sequences if one > position], sequences[-1]))
    assert delivered == sequences
    assert numbers(history.newest(KEPT)) == sequences[-KEPT:]


# --- deleted messages --------------------------------------------------------------------------------------


def test_a_deleted_message_is_forgotten_and_members_that_were_away_are_notified():
    history = begun(3, 7)
    assert history.receive(tombstone(9, 3), 7) is Verdict.NEXT
    assert numbers(history.newest(KEPT)) == [7]
    assert numbers(history.after(0)) == [7, 9]


def test_a_message_that_is_fetched_with_its_tombstone_is_not_delivered():
    history = begun(3)
    assert numbers(history.fill([stored(5), stored(7), tombstone(9, 5)], 9)) == [7, 9]
    assert history.position == 9
    assert numbers(history.newest(KEPT)) == [3, 7]


def test_a_message_deleted_after_a_gap_is_not_shown_although_the_tombstone_waits():
    history = begun(3, 5)
    assert history.receive(tombstone(9, 5), 7) is Verdict.AFTER_GAP
    assert numbers(history.newest(KEPT)) == [3]
    assert numbers(history.fill([stored(7)], 7)) == [7, 9]


def test_a_message_whose_predecessor_was_erased_is_delivered_once_nothing_more_is_found():
    history = begun(3)
    assert history.receive(stored(9), 7) is Verdict.AFTER_GAP
    assert numbers(history.fill([], history.awaited)) == [9]


def test_the_newest_are_as_many_as_asked_for_without_counting_deleted_messages():
    history = begun(1, 2, 3, 4)
    history.receive(tombstone(5, 3), 4)
    assert numbers(history.newest(3)) == [1, 2, 4]


def test_neither_tombstones_nor_the_messages_they_delete_are_shown():
    assert numbers(only_chat([stored(1), stored(2), tombstone(3, 1)])) == [2]


@given(st.data())
def test_with_any_losses_on_the_way_only_messages_that_are_not_deleted_are_left(data: st.DataObject):
    """The stream as it is when it is read: the message that a tombstone names may still exist or be erased."""
    chat: list[Stored] = []
    for sequence in range(1, data.draw(st.integers(2, 20))):
        alive = numbers(only_chat(chat))
        deleted = data.draw(st.sampled_from([0, *alive]))
        if deleted:
            chat.append(tombstone(sequence, deleted))
        else:
            chat.append(stored(sequence))
    left = numbers(only_chat(chat))
    history, due = History(KEPT), list[Stored]()
    history.begin(0)
    for previous, line in zip([0, *numbers(chat)], chat, strict=False):
        if data.draw(st.booleans()) and history.receive(line, previous) is Verdict.NEXT:
            due.append(line)
    there = [line for line in chat if line.sequence in left or line.deletes or data.draw(st.booleans())]
    position = history.position or 0
    fetched = history.fill([line for line in there if line.sequence > position], chat[-1].sequence)

    everything = due + fetched
    assert numbers(everything) == sorted(set(numbers(everything)))
    assert numbers(only_chat(everything)) == left
    assert numbers(line for line in fetched if not line.deletes) == [number for number in left if number > position]
    assert numbers(history.newest(KEPT)) == [number for number in left if number > history.reach]


def large(sequence: int) -> Stored:
    return stored(sequence)._replace(ready=b"x" * 100_000)


def test_remembered_messages_are_bounded_by_size_and_the_newest_is_always_remembered():
    history = begun()
    for sequence in range(1, KEPT):
        history.receive(large(sequence), sequence - 1)
    assert numbers(history.newest(KEPT)) == [KEPT - 2, KEPT - 1]
    assert history.reach == KEPT - 3
    history.receive(stored(KEPT)._replace(ready=b"x" * 1_000_000), KEPT - 1)
    assert numbers(history.newest(KEPT)) == [KEPT]


def test_messages_waiting_after_a_gap_are_bounded_by_size_and_dropped_messages_are_another_gap():
    history = begun(1)
    for sequence in range(10, 20):
        history.receive(large(sequence), sequence - 1)
    assert sum(len(waiting.ready) for _, waiting in history._waiting) <= 256 * 1024
    assert history.awaited == 18
    fetched = [stored(sequence) for sequence in range(2, 20)]
    assert numbers(history.fill(fetched, 19)) == list(range(2, 20))
    assert not history.incomplete


def test_messages_that_are_no_longer_stored_are_shown_to_nobody():
    history = begun(*range(1, 6))
    assert numbers(history.before(3)) == [1, 2]
    assert numbers(history.newest(KEPT, first=4)) == [4, 5]
    history.drop_before(3)
    assert numbers(history.newest(KEPT)) == [3, 4, 5]
    assert history.reach == 2


def test_a_room_knows_that_a_message_is_gone_only_if_it_would_remember_it():
    history = begun(3, 7, reach=2)
    assert not history.lacks(3)
    history.receive(tombstone(9, 3), 7)
    assert history.lacks(3)
    assert not history.lacks(7)
    assert not history.lacks(2), "messages from before are not remembered"
    assert not history.lacks(11), "it may come"
    history.forget()
    assert not history.lacks(3)


def test_only_a_tombstone_that_says_so_lets_the_room_begin_again():
    reset = encode_tombstone(MessageId("m"), 3, resets=True)
    time = "2026-11-24T09:00:00.5Z"
    assert Stored.of(5, reset, time).resets
    assert (Stored.of(5, reset, time).deletes, Stored.of(5, reset, time).is_message) == (3, False)
    assert not tombstone(5, 3).resets
    assert not stored(5).resets
