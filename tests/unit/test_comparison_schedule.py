"""Which rooms are compared with the stream, and which are announced: `gateway.chat.comparison_schedule`."""

from dataclasses import dataclass, field
from uuid import uuid4

from studyroom.gateway.chat.comparison_schedule import ACTIVE_ROUNDS, QUIET_EVERY, ComparisonSchedule
from studyroom.gateway.rooms.history import History, Stored
from studyroom.shared.contract.ids import RoomId


@dataclass(eq=False)
class Room:
    """The part of a room that the schedule reads."""

    id: RoomId = field(default_factory=lambda: RoomId(str(uuid4())))
    history: History = field(default_factory=lambda: History(10, position=0))

    def chat(self, sequence: int) -> None:
        self.history.receive(Stored.of(sequence, b"{}", "2026-11-23T10:00:00Z"), 0)


def rounds(schedule: ComparisonSchedule[Room], room: Room, count: int) -> tuple[list[int], list[int]]:
    """The numbers of the rounds, from 0, in which the room is compared or looked at, and is announced."""
    compared, announced = [], []
    for number in range(count):
        found = schedule.next_round([room], 1)
        compared += [number] if found.compare or found.look else []
        announced += [number] if found.announce else []
    return compared, announced


def test_a_quiet_room_is_compared_once_in_sixteen_rounds():
    room = Room()
    room.chat(1)
    schedule = ComparisonSchedule[Room]()
    rounds(schedule, room, 100)
    compared, announced = rounds(schedule, room, QUIET_EVERY * 3)
    assert len(compared) == 3
    assert compared[1] - compared[0] == compared[2] - compared[1] == QUIET_EVERY
    assert not announced


def test_quiet_rooms_share_the_rounds_evenly():
    crowd = [Room() for _ in range(3200)]
    schedule = ComparisonSchedule[Room]()
    for _ in range(100):
        schedule.next_round(crowd, 1)
    due = [schedule.next_round(crowd, 1) for _ in range(QUIET_EVERY)]
    sizes = [len(found.compare) + len(found.look) for found in due]
    assert sum(sizes) == len(crowd)
    assert max(sizes) < 1.5 * len(crowd) / QUIET_EVERY


def test_most_turns_look_for_messages_since_the_turn_before_the_last():
    room, schedule = Room(), ComparisonSchedule[Room]()
    due = [schedule.next_round([room], number) for number in range(QUIET_EVERY * 100)]
    turns = [(number, found) for number, found in enumerate(due) if found.compare or found.look][-64:]
    assert sum(len(found.look) for _, found in turns) == 56
    assert sum(len(found.compare) for _, found in turns) == 8
    assert all(found.since == number - 2 * QUIET_EVERY for number, found in turns)


def test_a_look_at_another_stream_begins_with_its_first_known_sequence():
    room, schedule = Room(), ComparisonSchedule[Room]()
    for _ in range(100):
        schedule.next_round([room], 5000)
    schedule.replaced()
    assert {schedule.next_round([room], 3).since for _ in range(QUIET_EVERY)} == {3}


def test_an_active_room_is_compared_in_every_round():
    room, schedule = Room(), ComparisonSchedule[Room]()
    rounds(schedule, room, 100)
    for sequence in range(1, 30):
        room.chat(sequence)
        found = schedule.next_round([room], 1)
        assert found.compare == found.announce == [room]
    compared, _ = rounds(schedule, room, ACTIVE_ROUNDS - 1)
    assert len(compared) == ACTIVE_ROUNDS - 1


def test_after_a_loss_all_rooms_are_compared_once():
    crowd, schedule = [Room() for _ in range(100)], ComparisonSchedule[Room]()
    for _ in range(100):
        schedule.next_round(crowd, 1)
    schedule.suspicious = True
    assert schedule.next_round(crowd, 1).compare == crowd
    assert len(schedule.next_round(crowd, 1).compare) < len(crowd)


def test_a_newest_message_is_announced_again_with_pauses_that_double():
    room, schedule = Room(), ComparisonSchedule[Room]()
    rounds(schedule, room, 100)
    room.chat(1)
    assert rounds(schedule, room, 200)[1] == [0, 1, 2, 4, 8, 16]


def test_a_room_is_not_announced_when_another_gateway_has_done_it_since_the_last_round():
    room, schedule = Room(), ComparisonSchedule[Room]()
    room.chat(7)
    assert not room.history.announce(b"7")
    assert schedule.next_round([room], 1).announce == []
    assert schedule.next_round([room], 1).announce == [room], "each announcement counts for one round"


def test_an_older_announcement_does_not_replace_that_of_a_newer_message():
    room, schedule = Room(), ComparisonSchedule[Room]()
    room.chat(7)
    room.history.announce(b"6")
    assert schedule.next_round([room], 1).announce == [room]


def test_a_room_without_messages_is_never_announced():
    assert rounds(ComparisonSchedule[Room](), Room(), 40)[1] == []


def test_an_announced_message_that_the_room_lacks_is_found_missing():
    room = Room()
    room.chat(7)
    assert room.history.announce(b"8")
    assert not room.history.announce(b"7")
    assert not room.history.announce(b"not a number")
    assert not History(10).announce(b"8"), "a room without a position reads its chat anyway"
