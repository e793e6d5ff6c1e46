"""Whether changes can have been missed: `gateway.hearing.Hearing`."""

from studyroom.gateway.rooms.hearing import Heard, Hearing
from studyroom.shared.contract.ids import UserId

ADA = UserId("ada")
MADE = "2026-11-23T10:00:00.5Z"
BEFORE, AFTER = "2026-11-23T10:00:00.49Z", "2026-11-23T10:00:00.500000001Z"


def heard(sequence: int, time: str = AFTER) -> Heard:
    return Heard(ADA, sequence, None, time)


def test_a_roster_alone_is_not_proof_that_later_changes_will_be_heard():
    hearing = Hearing()
    hearing.load(10)
    assert not hearing.consistent


def test_a_change_that_the_roster_contains_is_proof():
    hearing = Hearing()
    hearing.load(10)
    hearing.hear(heard(10))
    assert hearing.consistent


def test_between_a_roster_and_the_first_change_heard_something_may_be_missing():
    hearing = Hearing()
    hearing.load(10)
    hearing.hear(heard(12))
    assert not hearing.consistent
    hearing.load(12)
    assert hearing.consistent


def test_changes_that_come_before_the_roster_are_kept_for_it_once():
    hearing = Hearing()
    hearing.hear(heard(9))
    hearing.hear(heard(11))
    assert hearing.load(10) == [heard(9), heard(11)]
    assert hearing.load(11) == []


def test_after_a_doubt_both_a_roster_and_a_change_are_needed_anew():
    hearing = Hearing()
    hearing.load(10)
    hearing.hear(heard(10))
    hearing.doubt()
    assert not hearing.consistent
    hearing.load(10)
    assert not hearing.consistent
    hearing.hear(heard(11))
    assert not hearing.consistent
    hearing.load(11)
    assert hearing.consistent


def test_a_doubt_forgets_no_revision():
    hearing = Hearing()
    hearing.hear(heard(10))
    hearing.doubt()
    assert hearing.revision == 10


def test_in_another_stream_only_what_was_committed_there_counts():
    hearing = Hearing()
    hearing.load(5000)
    hearing.doubt()
    hearing.hear(heard(5001, BEFORE))
    hearing.hear(heard(2, AFTER))
    assert hearing.load(3, replaced=MADE) == [heard(2, AFTER)]
    assert hearing.consistent
    assert hearing.revision == 3


def test_in_another_stream_what_was_heard_of_the_old_one_is_no_proof():
    hearing = Hearing()
    hearing.load(10)
    hearing.hear(heard(10, BEFORE))
    hearing.load(3, replaced=MADE)
    assert not hearing.consistent
    assert hearing.revision == 3
