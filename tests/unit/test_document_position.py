"""The position of a gateway in the log of a document."""

from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.documents.updates import Position


def test_updates_in_a_row_move_the_position():
    position = Position()
    position.answered(4)
    position.receive(4, 9)
    position.receive(9, 10)
    assert (position.reached, position.newest, position.has_gap) == (10, 10, False)


def test_an_update_that_does_not_follow_is_a_gap_until_an_answer_reaches_it():
    position = Position()
    position.answered(4)
    position.receive(7, 9)
    assert position.has_gap
    position.receive(9, 12)
    position.answered(6)
    assert position.has_gap
    position.answered(8)
    assert (position.reached, position.has_gap) == (12, False)


def test_updates_before_the_first_answer_show_nothing():
    position = Position()
    position.receive(4, 9)
    assert not position.has_gap
    position.answered(4)
    assert (position.reached, position.has_gap) == (9, False)


def test_the_first_update_of_a_document_follows_nothing():
    position = Position()
    position.answered(0)
    position.receive(0, 17)
    assert (position.reached, position.has_gap) == (17, False)


def test_an_old_update_changes_nothing():
    position = Position()
    position.answered(10)
    position.receive(2, 3)
    assert (position.reached, position.has_gap) == (10, False)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 30))
def test_a_gap_shows_exactly_if_an_update_is_missing_before_the_newest_that_came(came: list[bool], answered: int):
    """Update `n` has sequence `n + 1`. Those that did not come are lost."""
    position = Position()
    position.answered(answered)
    for number, has_come in enumerate(came):
        if has_come:
            position.receive(number, number + 1)
    newest = max((number + 1 for number, has_come in enumerate(came) if has_come), default=0)
    missing = any(not has_come for has_come in came[answered:newest])
    assert position.has_gap == missing
    if not missing:
        assert position.reached == max(answered, newest)
