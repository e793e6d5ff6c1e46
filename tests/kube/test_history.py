"""The judgement of people's events notices everything that must not happen to them."""

from dataclasses import replace
from typing import Any

import pytest

from tests.kube.history import Event, Span, Visit, judge

ROOM, ANN, BOB = "room", "ann", "bob"


def event(at: float, person: str, name: str, **fields: Any) -> Event:
    return Event(at, person, name, fields)


def written(at: float, person: str, message: str, seq: int) -> list[Event]:
    """A message that both see after a moment."""
    return [
        event(at, person, "wrote", id=message),
        *(event(at + 0.1, reader, "saw", id=message, seq=seq) for reader in (ANN, BOB)),
        event(at + 0.2, person, "stored", id=message, seq=seq),
    ]


def looks(at: float = 99) -> list[Event]:
    shown = [{"id": "first", "seq": 1}, {"id": "second", "seq": 2}]
    return [
        event(at, ANN, "looks", others=[BOB], shown=shown),
        event(at, BOB, "looks", others=[ANN], shown=shown),
    ]


GOOD = Visit(
    rooms={ANN: ROOM, BOB: ROOM},
    events=[
        event(1, ANN, "in"), event(1, BOB, "in"),
        *written(10, ANN, "first", 1), *written(20, BOB, "second", 2), *looks(),
    ],
    stored={ROOM: [(1, "first"), (2, "second")]},
    began=5,
    ended=100,
)  # fmt: skip


def also(*events: Event) -> Visit:
    return replace(GOOD, events=[*GOOD.events, *events])


def without(person: str, name: str, message: str) -> Visit:
    kept = [one for one in GOOD.events if (one.person, one.name, one.fields.get("id")) != (person, name, message)]
    return replace(GOOD, events=kept)


def test_people_who_saw_everything_once_lost_nothing():
    outcome = judge(GOOD)
    assert outcome.messages == 2
    assert (outcome.lost, outcome.doubled, outcome.left, outcome.wrong, outcome.resets) == ([], [], [], [], 0)
    assert outcome.seconds_outside == 0
    assert outcome.seconds_without_chat == pytest.approx(0.1)


@pytest.mark.parametrize(
    "visit",
    [
        also(event(30, ANN, "wrote", id="third")),
        also(event(30, ANN, "wrote", id="third"), event(31, ANN, "failed", id="third", code="expired")),
        without(BOB, "saw", "second"),
        replace(GOOD, stored={ROOM: [(1, "first")]}),
    ],
    ids=["no answer", "a refusal", "not shown to its author", "gone from the history"],
)
def test_chat_is_lost_without_an_answer_a_reader_or_a_place_in_the_history(visit: Visit):
    assert len(judge(visit).lost) == 1


def test_chat_of_a_time_that_is_forgiven_is_not_lost():
    visit = replace(also(event(30, ANN, "wrote", id="third")), forgiven=(Span(29, 31),))
    assert judge(visit).lost == []
    assert judge(visit).seconds_without_chat == pytest.approx(0.1)
    gone = replace(GOOD, stored={ROOM: [(1, "first")]}, forgiven=(Span(19, 21),))
    assert judge(gone).lost == []


def test_after_a_reset_chat_must_be_whole_from_the_first_message_on_that_is_shown():
    reset = event(50, BOB, "reset")
    assert judge(also(reset)).lost == []
    assert judge(also(reset)).resets == 1
    later = [event(99.5, BOB, "looks", others=[ANN], shown=[{"id": "second", "seq": 2}])]
    assert judge(also(reset, *later)).lost == []
    hole = [event(99.5, BOB, "looks", others=[ANN], shown=[{"id": "first", "seq": 1}])]
    assert len(judge(also(reset, *hole)).lost) == 1


def test_chat_is_doubled_in_the_history_and_on_the_screen():
    assert len(judge(replace(GOOD, stored={ROOM: [(1, "first"), (2, "second"), (3, "first")]})).doubled) == 1
    assert len(judge(also(event(30, BOB, "saw", id="first", seq=1))).doubled) == 1
    # A reset shows again what was shown before.
    assert judge(also(event(29, BOB, "reset"), event(30, BOB, "saw", id="first", seq=1))).doubled == []


def test_a_leave_of_somebody_who_stays_counts_once_everybody_is_in():
    assert judge(also(event(30, ANN, "left", of=BOB))).left == ["ann saw bob leave"]
    assert judge(also(event(4, ANN, "left", of=BOB))).left == []


@pytest.mark.parametrize(
    "last",
    [
        event(99.5, ANN, "looks", others=[], shown=[]),
        event(99.5, ANN, "looks", others=[BOB, "ghost"], shown=[]),
        event(99.5, ANN, "looks", others=[BOB], shown=[{"id": "second", "seq": 2}, {"id": "first", "seq": 1}]),
        event(99.5, ANN, "closed", code=4001, reconnects=False, cause="unauthorized"),
    ],
    ids=["a member is missing", "a ghost", "out of order", "a client that gave up"],
)
def test_members_order_and_connections_must_be_right_in_the_end(last: Event):
    assert len(judge(also(last)).wrong) == 1


def test_people_who_do_not_answer_in_the_end_are_noticed():
    silent = replace(GOOD, events=[one for one in GOOD.events if one.name != "looks"])
    assert len(judge(silent).wrong) == 2


def test_time_outside_is_from_the_loss_to_the_return_or_to_the_end():
    assert judge(also(event(30, ANN, "out"), event(33, ANN, "in"))).seconds_outside == 3
    assert judge(also(event(90, ANN, "out"))).seconds_outside == 10
    assert judge(also(event(2, ANN, "out"), event(7, ANN, "in"))).seconds_outside == 2


def test_time_without_chat_ends_when_the_last_person_sees_the_message():
    late = without(ANN, "saw", "second").events
    assert judge(replace(GOOD, events=[*late, event(27, ANN, "saw", id="second", seq=2)])).seconds_without_chat == 7
    assert judge(replace(GOOD, events=late)).seconds_without_chat == 80


def test_a_line_of_the_people_is_an_event():
    line = '{"at": 1.5, "person": "ann", "event": "saw", "id": "first", "seq": 1}'
    assert Event.of(line) == event(1.5, ANN, "saw", id="first", seq=1)
