"""Events of members and documents, and pauses before retries."""

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.services.hooks.events import Event, EventType, Logged, SourceName, body_of, event_id
from studyroom.services.hooks.members import Members
from studyroom.services.hooks.merging import merged
from studyroom.services.hooks.positions import Position
from studyroom.services.hooks.retries import pause_seconds
from studyroom.services.hooks.saved_documents import SavedDocuments
from studyroom.services.hooks.sending import retry_after_seconds
from studyroom.shared.chassis.nats.batches import Read
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.ids import RoomId, UserId

ROOM, OTHER = RoomId("room"), RoomId("other")
NOTES = DocumentName("notes")


@given(st.lists(st.tuples(st.sampled_from([ROOM, OTHER]), st.sampled_from("abc"), st.booleans())))
def test_events_of_members_lead_from_each_state_to_the_next(changes: list[tuple[RoomId, str, bool]]):
    members, known, occupied = Members(), set[tuple[RoomId, str]](), set[RoomId]()
    for room, user, is_there in changes:
        made = members.put(room, UserId(user), "name") if is_there else members.remove(room, UserId(user))
        for change in made:
            match change.type:
                case EventType.MEMBER_JOINED:
                    assert (room, user) not in known
                    known.add((room, user))
                case EventType.MEMBER_LEFT:
                    known.remove((room, user))
                case EventType.ROOM_OCCUPIED:
                    assert room not in occupied
                    occupied.add(room)
                case EventType.ROOM_EMPTY:
                    occupied.remove(room)
        assert ((room, user) in known) is is_there
        assert occupied == {room for room, _ in known}
        assert set(members.all()) == known
    saved = {member for member, name in members.unsaved.items() if name is not None}
    assert saved == known


def test_a_change_that_is_read_twice_makes_no_second_event():
    members = Members()
    assert members.put(ROOM, UserId("a"), "Ada")
    assert not members.put(ROOM, UserId("a"), "Ada L.")
    assert members.remove(ROOM, UserId("a"))[0].username == "Ada L."
    assert not members.remove(ROOM, UserId("a"))


def test_a_member_who_is_forgotten_is_in_no_event_and_the_room_becomes_empty():
    members = Members()
    members.put(ROOM, UserId("a"), "Ada")
    members.put(ROOM, UserId("b"), "Ben")
    assert members.forget(ROOM, UserId("a")) == []
    assert [change.type for change in members.forget(ROOM, UserId("b"))] == [EventType.ROOM_EMPTY]
    assert members.unsaved == {(ROOM, "a"): None, (ROOM, "b"): None}
    assert members.forget(OTHER, UserId("c")) == []


def test_the_present_members_of_a_room_come_again_with_the_events_of_a_first_visit():
    members, again = Members(), Members()
    first = [*members.put(ROOM, UserId("a"), "Ada"), *members.put(ROOM, UserId("b"), "Ben")]
    members.put(OTHER, UserId("c"), "Cyd")
    assert members.present(ROOM) == first
    assert again.present(ROOM) == []


def test_only_the_event_about_an_erased_user_is_about_no_room():
    for kind, data in ((EventType.USER_ERASED, {"user_sha256": "5e"}), (EventType.ROOM_ERASED, {"room_id": ROOM})):
        event = Event(id="1", type=kind, time="then", source=SourceName.ERASURES, position=0, data={})
        event.data.update({name: value for name, value in data.items() if name != "room_id"})
        assert json.loads(body_of(Logged(7, "then", ROOM, event), None))["data"] == data


def test_edits_within_some_seconds_are_one_event_and_the_position_waits_for_it():
    documents = SavedDocuments(10.0)
    before = Position("created", 6, "then")
    documents.edit((ROOM, NOTES), 7, "t7", before=before, now=100.0)
    documents.edit((ROOM, NOTES), 9, "t9", before=Position("created", 8, "t8"), now=109.0)
    assert documents.next_due(109.9) is None
    assert documents.all_made_up_to == before
    due = documents.next_due(110.0)
    assert due is not None
    document, edited = due
    assert (document, edited.last, edited.time) == ((ROOM, NOTES), 9, "t9")
    documents.made(document)
    assert documents.next_due(110.0) is None
    assert documents.all_made_up_to is None


def read(second: int, sequence: int) -> Read:
    return Read("subject", sequence, f"2026-01-01T00:00:{second:02}.000000001Z", b"")


def test_messages_are_merged_by_time_and_those_of_a_stream_keep_their_order():
    chat, members = [read(1, 1), read(9, 2), read(3, 3)], [read(2, 1), read(10, 2)]
    found = merged([(chat, False), (members, False)])
    assert [(stream, one.sequence) for stream, one in found] == [(0, 1), (1, 1), (0, 2), (0, 3), (1, 2)]


def test_nothing_is_taken_before_the_rest_of_a_stream_that_may_be_earlier():
    chat, members = [read(1, 1), read(4, 2)], [read(2, 1), read(5, 2)]
    found = merged([(chat, True), (members, False)])
    assert [(stream, one.sequence) for stream, one in found] == [(0, 1), (1, 1), (0, 2)]


def test_ids_are_the_same_for_the_same_event_and_differ_for_others():
    assert event_id("a", 1) == event_id("a", "1")
    assert len({event_id("a", 1), event_id("a", 2), event_id("a1"), event_id("a", "1", "")}) == 4


def test_pauses_double_up_to_the_longest_and_are_at_least_those_that_the_backend_asked_for():
    longest = [pause_seconds(failures, 300.0, 0.0, lambda _low, high: high) for failures in (1, 2, 3, 20, 5000)]
    assert longest == [0.5, 1.0, 2.0, 300.0, 300.0]
    assert pause_seconds(1, 300.0, 60.0, lambda low, _high: low) == 60.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0", 0.0), ("999999", 3600.0), ("", 0.0), ("soon", 0.0), ("-3", 0.0), ("1.5", 0.0)],
)
def test_retry_after_is_read_in_seconds(value: str, seconds: float):
    assert retry_after_seconds(value, 0.0) == seconds


def test_retry_after_is_read_as_a_date():
    now = 1_800_000_000.0
    assert retry_after_seconds(formatdate(now + 90, usegmt=True), now) == 90.0
    assert retry_after_seconds(formatdate(now - 90, usegmt=True), now) == 0.0
