"""Whether changes can have been missed: `studyroom.gateway.rooms.change_log`."""

from studyroom.gateway.rooms.change_log import ChangeLog, CommittedChange
from studyroom.shared.contract.ids import UserId

ADA = UserId("ada")
MADE = "2026-11-23T10:00:00.5Z"
BEFORE, AFTER = "2026-11-23T10:00:00.49Z", "2026-11-23T10:00:00.500000001Z"


def change(sequence: int, time: str = AFTER) -> CommittedChange:
    return CommittedChange(ADA, sequence, None, time)


def test_a_roster_alone_is_not_proof_that_later_changes_will_be_received():
    change_log = ChangeLog()
    change_log.load(10)
    assert not change_log.consistent


def test_a_change_that_the_roster_contains_is_proof():
    change_log = ChangeLog()
    change_log.load(10)
    change_log.record(change(10))
    assert change_log.consistent


def test_between_a_roster_and_the_first_received_change_something_may_be_missing():
    change_log = ChangeLog()
    change_log.load(10)
    change_log.record(change(12))
    assert not change_log.consistent
    change_log.load(12)
    assert change_log.consistent


def test_changes_that_come_before_the_roster_are_kept_for_it_once():
    change_log = ChangeLog()
    change_log.record(change(9))
    change_log.record(change(11))
    assert change_log.load(10) == [change(9), change(11)]
    assert change_log.load(11) == []


def test_after_an_invalidation_both_a_roster_and_a_change_are_needed_again():
    change_log = ChangeLog()
    change_log.load(10)
    change_log.record(change(10))
    change_log.invalidate()
    assert not change_log.consistent
    change_log.load(10)
    assert not change_log.consistent
    change_log.record(change(11))
    assert not change_log.consistent
    change_log.load(11)
    assert change_log.consistent


def test_an_invalidation_forgets_no_revision():
    change_log = ChangeLog()
    change_log.record(change(10))
    change_log.invalidate()
    assert change_log.revision == 10


def test_in_another_stream_only_changes_committed_there_count():
    change_log = ChangeLog()
    change_log.load(5000)
    change_log.invalidate()
    change_log.record(change(5001, BEFORE))
    change_log.record(change(2, AFTER))
    assert change_log.load(3, replaced=MADE) == [change(2, AFTER)]
    assert change_log.consistent
    assert change_log.revision == 3


def test_changes_of_an_old_stream_prove_nothing_about_a_new_stream():
    change_log = ChangeLog()
    change_log.load(10)
    change_log.record(change(10, BEFORE))
    change_log.load(3, replaced=MADE)
    assert not change_log.consistent
    assert change_log.revision == 3
