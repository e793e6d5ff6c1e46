"""Whether changes can have been missed: `gateway.hearing.Hearing`."""

from studyroom.gateway.rooms.change_log import ChangeLog, CommittedChange
from studyroom.shared.contract.ids import UserId

ADA = UserId("ada")
MADE = "2026-11-23T10:00:00.5Z"
BEFORE, AFTER = "2026-11-23T10:00:00.49Z", "2026-11-23T10:00:00.500000001Z"


def heard(sequence: int, time: str = AFTER) -> CommittedChange:
    return CommittedChange(ADA, sequence, None, time)


def test_a_roster_alone_is_not_proof_that_later_changes_will_be_heard():
    change_log = ChangeLog()
    change_log.load(10)
    assert not change_log.consistent


def test_a_change_that_the_roster_contains_is_proof():
    change_log = ChangeLog()
    change_log.load(10)
    change_log.record(heard(10))
    assert change_log.consistent


def test_between_a_roster_and_the_first_change_heard_something_may_be_missing():
    change_log = ChangeLog()
    change_log.load(10)
    change_log.record(heard(12))
    assert not change_log.consistent
    change_log.load(12)
    assert change_log.consistent


def test_changes_that_come_before_the_roster_are_kept_for_it_once():
    change_log = ChangeLog()
    change_log.record(heard(9))
    change_log.record(heard(11))
    assert change_log.load(10) == [heard(9), heard(11)]
    assert change_log.load(11) == []


def test_after_a_doubt_both_a_roster_and_a_change_are_needed_anew():
    change_log = ChangeLog()
    change_log.load(10)
    change_log.record(heard(10))
    change_log.invalidate()
    assert not change_log.consistent
    change_log.load(10)
    assert not change_log.consistent
    change_log.record(heard(11))
    assert not change_log.consistent
    change_log.load(11)
    assert change_log.consistent


def test_a_doubt_forgets_no_revision():
    change_log = ChangeLog()
    change_log.record(heard(10))
    change_log.invalidate()
    assert change_log.revision == 10


def test_in_another_stream_only_what_was_committed_there_counts():
    change_log = ChangeLog()
    change_log.load(5000)
    change_log.invalidate()
    change_log.record(heard(5001, BEFORE))
    change_log.record(heard(2, AFTER))
    assert change_log.load(3, replaced=MADE) == [heard(2, AFTER)]
    assert change_log.consistent
    assert change_log.revision == 3


def test_in_another_stream_what_was_heard_of_the_old_one_is_no_proof():
    change_log = ChangeLog()
    change_log.load(10)
    change_log.record(heard(10, BEFORE))
    change_log.load(3, replaced=MADE)
    assert not change_log.consistent
    assert change_log.revision == 3
