"""Counting how grace periods end: `presence.grace.GracePeriods`."""

from studyroom.presence.grace import GraceOutcome, GracePeriods
from studyroom.shared.contract.ids import ConnectionId, GatewayId, RoomId, UserId
from studyroom.shared.contract.presence import Entry, Profile
from studyroom.shared.contract.subjects import SHARDS

ROOM, ADA, BEN = RoomId("room"), UserId("ada"), UserId("ben")
DEAD = GatewayId("dead")
ADAS = Profile(username="Ada")
HERE = Entry(profile=ADAS, connections={ConnectionId("c"): GatewayId("g")})
AWAY = Entry(profile=ADAS, connections={})


class Recorded:
    def __init__(self) -> None:
        self.outcomes: list[GraceOutcome] = []
        self.gone: list[GatewayId] = []
        self.grace_periods = GracePeriods(on_ended=self.outcomes.append, on_ghosts_gone=self.gone.append)


def test_a_join_in_time_is_a_return_and_a_removal_is_an_end():
    recorded = Recorded()
    recorded.grace_periods.begin(ROOM, ADA, 5, None)
    recorded.grace_periods.begin(ROOM, BEN, 6, None)
    recorded.grace_periods.changed(ROOM, ADA, 7, HERE)
    recorded.grace_periods.changed(ROOM, BEN, 8, None)
    assert recorded.outcomes == [GraceOutcome.RETURNED, GraceOutcome.EXPIRED]
    assert len(recorded.grace_periods) == 0


def test_changes_up_to_its_own_write_do_not_end_a_grace_period():
    recorded = Recorded()
    recorded.grace_periods.begin(ROOM, ADA, 5, None)
    recorded.grace_periods.changed(ROOM, ADA, 4, HERE)
    recorded.grace_periods.changed(ROOM, ADA, 5, AWAY)
    assert recorded.outcomes == []
    assert len(recorded.grace_periods) == 1


def test_a_grace_period_that_another_replica_begins_again_is_counted_there():
    recorded = Recorded()
    recorded.grace_periods.begin(ROOM, ADA, 5, None)
    recorded.grace_periods.changed(ROOM, ADA, 6, AWAY)
    recorded.grace_periods.changed(ROOM, ADA, 7, None)
    assert recorded.outcomes == []


def test_the_ghosts_of_a_gateway_are_gone_with_the_last_of_them():
    recorded = Recorded()
    recorded.grace_periods.begin(ROOM, ADA, 5, DEAD)
    recorded.grace_periods.begin(ROOM, BEN, 6, DEAD)
    recorded.grace_periods.changed(ROOM, ADA, 7, None)
    assert recorded.gone == []
    recorded.grace_periods.changed(ROOM, BEN, 8, HERE)
    assert recorded.gone == [DEAD]


def test_a_replaced_stream_ends_nothing():
    recorded = Recorded()
    recorded.grace_periods.begin(ROOM, ADA, 5, DEAD)
    recorded.grace_periods.clear(range(SHARDS))
    recorded.grace_periods.changed(ROOM, ADA, 7, None)
    assert (recorded.outcomes, recorded.gone, len(recorded.grace_periods)) == ([], [], 0)
