"""What presence counts about places that are kept: `presence.grace.Graces`."""

from studyroom.presence.grace import GraceOutcome, Graces
from studyroom.shared.contract.ids import ConnectionId, GatewayId, RoomId, UserId
from studyroom.shared.contract.presence import Entry, Profile

ROOM, ADA, BEN = RoomId("room"), UserId("ada"), UserId("ben")
DEAD = GatewayId("dead")
ADAS = Profile(username="Ada")
HERE = Entry(profile=ADAS, connections={ConnectionId("c"): GatewayId("g")})
AWAY = Entry(profile=ADAS, connections={})


class Recorded:
    def __init__(self) -> None:
        self.outcomes: list[GraceOutcome] = []
        self.gone: list[GatewayId] = []
        self.graces = Graces(ended=self.outcomes.append, ghosts_gone=self.gone.append)


def test_a_join_in_time_is_a_return_and_a_removal_is_an_end():
    recorded = Recorded()
    recorded.graces.begin(ROOM, ADA, 5, None)
    recorded.graces.begin(ROOM, BEN, 6, None)
    recorded.graces.changed(ROOM, ADA, 7, HERE)
    recorded.graces.changed(ROOM, BEN, 8, None)
    assert recorded.outcomes == [GraceOutcome.RETURNED, GraceOutcome.EXPIRED]
    assert len(recorded.graces) == 0


def test_the_place_itself_and_what_was_before_it_end_nothing():
    recorded = Recorded()
    recorded.graces.begin(ROOM, ADA, 5, None)
    recorded.graces.changed(ROOM, ADA, 4, HERE)
    recorded.graces.changed(ROOM, ADA, 5, AWAY)
    assert recorded.outcomes == []
    assert len(recorded.graces) == 1


def test_a_place_that_another_replica_keeps_on_is_counted_there():
    recorded = Recorded()
    recorded.graces.begin(ROOM, ADA, 5, None)
    recorded.graces.changed(ROOM, ADA, 6, AWAY)
    recorded.graces.changed(ROOM, ADA, 7, None)
    assert recorded.outcomes == []


def test_the_ghosts_of_a_gateway_are_gone_with_the_last_of_them():
    recorded = Recorded()
    recorded.graces.begin(ROOM, ADA, 5, DEAD)
    recorded.graces.begin(ROOM, BEN, 6, DEAD)
    recorded.graces.changed(ROOM, ADA, 7, None)
    assert recorded.gone == []
    recorded.graces.changed(ROOM, BEN, 8, HERE)
    assert recorded.gone == [DEAD]


def test_a_replaced_stream_ends_nothing():
    recorded = Recorded()
    recorded.graces.begin(ROOM, ADA, 5, DEAD)
    recorded.graces.forget()
    recorded.graces.changed(ROOM, ADA, 7, None)
    assert (recorded.outcomes, recorded.gone, len(recorded.graces)) == ([], [], 0)
