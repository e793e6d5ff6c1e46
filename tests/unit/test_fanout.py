"""The room's share of the loop, and what slow members are written."""

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.fanout import Fanout, rest_seconds
from studyroom.gateway.wire.items import Item, Kind
from studyroom.shared.contract.ids import ConnectionId, MembershipId, UserId
from studyroom.shared.contract.presence import Profile


@given(st.floats(0, 10))
def test_a_room_never_takes_more_than_a_quarter_of_the_loop(flush: float):
    assert rest_seconds(flush) >= 3 * flush


@given(st.floats(0, 0.0001))
def test_a_small_room_rests_for_less_than_anyone_could_see(flush: float):
    assert rest_seconds(flush) < 0.001


@given(st.floats(0, 0.01))
def test_a_large_room_rests_longer_but_not_so_that_anyone_would_see(flush: float):
    assert 3 * flush <= rest_seconds(flush) <= 0.044 - flush


class Member:
    """One that reads slowly."""

    lagging = True

    def __init__(self) -> None:
        self.user, self.id, self.membership_id = UserId(str(uuid4())), ConnectionId(str(uuid4())), MembershipId("")
        self.profile = Profile(username="")
        self.got: list[bytes] = []
        self.write = self.got.append
        self.socket = self

    def deliver(self, frames: bytes) -> None:
        self.got.append(frames)


def test_slow_members_who_are_due_the_same_share_it():
    fanout = Fanout(GatewayMetrics(CollectorRegistry()))
    members = [Member() for _ in range(3)]
    for member in members:
        fanout.admit(member, b"welcome")
    for text in (b"one", b"two"):
        fanout._outbox.add(Item(text, Kind.CHAT))
    fanout._outbox.add(Item(b"moved", Kind.CURSOR), not_to=members[0].user)
    fanout._outbox.add(Item(b"left", Kind.LEFT), not_to=members[1].user)
    fanout.flush()
    assert [member.got[1:] for member in members] == [[b"onetwoleft"], [b"onetwo"], [b"onetwoleft"]]
    others = [Member(), Member()]
    for member in others:
        fanout.admit(member, b"welcome")
    fanout._outbox.add(Item(b"three", Kind.CHAT))
    fanout.flush()
    assert others[0].got[-1] is others[1].got[-1]
