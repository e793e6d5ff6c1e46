"""The exchange of cursors between two gateways when the bus loses some. The network is a list here."""

import asyncio
import time
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.cursors import Cursors
from studyroom.gateway.rooms.fanout import Fanout
from studyroom.gateway.rooms.neighbours import Neighbours
from studyroom.gateway.rooms.notices import encode_cursor
from studyroom.gateway.wire.framing import text_frame
from studyroom.gateway.wire.items import Kind
from studyroom.shared.contract.ids import ConnectionId, GatewayId, MembershipId, RoomId, UserId
from studyroom.shared.contract.messages import CursorPosition
from studyroom.shared.contract.presence import Profile

ROOM = RoomId(str(uuid4()))
ANN, BOB = UserId(str(uuid4())), UserId(str(uuid4()))
A_LONG_TIME = 60
"""Beats."""
TEN_SECONDS_US = 10_000_000


class Member:
    lagging = False

    def __init__(self, user: UserId) -> None:
        self.user, self.id, self.membership_id = user, ConnectionId(str(uuid4())), MembershipId("")
        self.socket = self
        self.profile = Profile(username="", avatar_url=None)
        self.written: list[bytes] = []
        self.write = self.written.append

    def deliver(self, frames: bytes) -> None: ...


@dataclass
class Gateway:
    """One gateway's part of the room, with one member."""

    user: UserId
    name: GatewayId = field(default_factory=lambda: GatewayId(str(uuid4())))
    members: dict[UserId, None] = field(default_factory=dict)
    sent: int = 0
    requested: bool = False
    loses: bool = False
    other: "Gateway | None" = None

    def __post_init__(self) -> None:
        metrics = GatewayMetrics(CollectorRegistry())
        self.fanout = Fanout(metrics, self.request_flush)
        self.neighbours = Neighbours(self.name)
        self.cursors = Cursors(
            ROOM, self.fanout, self.publish, self.request_flush, metrics,
            members=self.members.keys(), neighbours=self.neighbours,
        )  # fmt: skip
        self.fanout.admit(Member(self.user), b"")
        self.members[self.user] = None
        self.cursors.roster_loaded()

    def request_flush(self) -> None:
        """Flushes once, in the next iteration of the loop."""
        if not self.requested:
            self.requested = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        self.requested = False
        self.cursors.flush()

    def publish(self, _subject: str, batch: bytes) -> None:
        self.sent += 1
        if not self.loses and self.other is not None:
            self.other.cursors.receive(Kind.CURSOR, batch)

    def meet(self, other: "Gateway") -> None:
        """A change of the roster says that the other gateway has a member of the room."""
        self.other = other
        self.members[other.user] = None
        if self.neighbours.locate(other.user, [other.name]):
            self.cursors.sync_neighbours()

    def part(self, other: "Gateway") -> None:
        """The member of the other gateway has left, as far as this gateway knows."""
        del self.members[other.user]
        self.neighbours.remove(other.user)
        self.cursors.forget(other.user)

    async def move(self, x: float, user: UserId | None = None) -> None:
        mover = user or self.user
        frame = text_frame(encode_cursor(mover, CursorPosition(x=x, y=0)))
        self.cursors.move_cursor(mover, frame, time.time_ns() // 1000)
        await asyncio.sleep(0)
        if self.other is not None:
            self.other.flush()

    def shows(self, user: UserId) -> float | None:
        cursor = dict(self.cursors.cursors()).get(user)
        return None if cursor is None else CursorPosition.model_validate_json(cursor).x


def beats(count: int, *gateways: Gateway) -> None:
    for _ in range(count):
        for gateway in gateways:
            gateway.cursors.take_moved()
            gateway.cursors.beat()
        for gateway in gateways:
            gateway.flush()


@pytest.fixture
async def pair() -> tuple[Gateway, Gateway]:
    here, there = Gateway(ANN), Gateway(BOB)
    here.meet(there)
    there.meet(here)
    beats(A_LONG_TIME, here, there)
    return here, there


async def test_a_cursor_whose_only_message_was_lost_arrives_all_the_same(pair: tuple[Gateway, Gateway]):
    here, there = pair
    here.loses = True
    await here.move(7)
    here.loses = False
    assert there.shows(ANN) is None
    beats(10, here, there)
    assert there.shows(ANN) == 7


async def test_a_cursor_arrives_after_everything_was_lost_for_a_while(pair: tuple[Gateway, Gateway]):
    here, there = pair
    here.loses = there.loses = True
    await here.move(7)
    await there.move(8)
    beats(20, here, there)
    here.loses = there.loses = False
    beats(10, here, there)
    assert (there.shows(ANN), here.shows(BOB)) == (7, 8)


@pytest.mark.parametrize("rostered_after", [0, 3, 9, 20])
async def test_a_gateway_that_was_taken_for_dead_gets_and_gives_cursors_when_its_members_are_back(
    pair: tuple[Gateway, Gateway], rostered_after: int
):
    here, there = pair
    here.loses = there.loses = True
    there.part(here)
    await here.move(7)
    await there.move(8)
    beats(A_LONG_TIME, here, there)
    here.loses = there.loses = False
    here.cursors.invalidate()
    beats(rostered_after, here, there)
    there.meet(here)
    beats(12, here, there)
    assert (there.shows(ANN), here.shows(BOB)) == (7, 8)


async def test_a_quiet_room_sends_nothing(pair: tuple[Gateway, Gateway]):
    here, there = pair
    await here.move(7)
    beats(A_LONG_TIME, here, there)
    sent = here.sent
    beats(A_LONG_TIME, here, there)
    assert here.sent == sent


async def test_a_repeated_cursor_does_not_take_back_a_newer_one_of_the_same_user_elsewhere(
    pair: tuple[Gateway, Gateway],
):
    here, there = pair
    there.fanout.admit(Member(ANN), b"")  # another tab of hers
    for one, other in (pair, (there, here)):
        one.neighbours.locate(ANN, [one.name, other.name])
    await here.move(7)
    beats(1, here, there)
    await there.move(9, user=ANN)
    beats(A_LONG_TIME, here, there)
    assert (here.shows(ANN), there.shows(ANN)) == (9, 9)


async def test_the_last_of_two_tabs_to_move_counts_although_its_move_was_lost_between_gateways(
    pair: tuple[Gateway, Gateway],
):
    here, there = pair
    for one, other in (pair, (there, here)):
        one.fanout.admit(Member(ANN), b"")
        one.neighbours.locate(ANN, [one.name, other.name])
    await here.move(7)
    beats(2, here, there)
    there.loses = True
    await there.move(9, user=ANN)
    there.loses = False
    assert (here.shows(ANN), there.shows(ANN)) == (7, 9)
    beats(A_LONG_TIME, here, there)
    assert (here.shows(ANN), there.shows(ANN)) == (9, 9)


async def test_an_old_batch_of_its_own_that_comes_back_takes_no_cursor_back(pair: tuple[Gateway, Gateway]):
    here, there = pair
    there.loses = here.loses = True
    kept: list[bytes] = []
    publish = here.cursors._publish
    here.cursors._publish = lambda _subject, batch: kept.append(batch)
    await here.move(7)
    here.cursors._publish = publish
    here.loses = there.loses = False
    await here.move(8)
    for one in pair:  # a server that was frozen delivers it, to the new connection of its own gateway too
        one.cursors.receive(Kind.CURSOR, kept[0])
        one.flush()
    beats(10, here, there)
    assert (here.shows(ANN), there.shows(ANN)) == (8, 8)


async def test_an_old_batch_of_another_gateway_that_comes_late_is_corrected(pair: tuple[Gateway, Gateway]):
    here, there = pair
    kept: list[bytes] = []
    publish = here.cursors._publish
    here.cursors._publish = lambda _subject, batch: kept.append(batch)
    await here.move(7)
    here.cursors._publish = publish
    await here.move(8)
    beats(A_LONG_TIME, here, there)
    there.cursors.receive(Kind.CURSOR, b"%016d" % (int(kept[0][:16]) - TEN_SECONDS_US) + kept[0][16:])
    there.flush()
    beats(10, here, there)
    assert there.shows(ANN) == 8


async def test_a_cursor_dropped_before_its_member_was_in_the_roster_is_asked_for_when_it_is(
    pair: tuple[Gateway, Gateway],
):
    here, there = pair
    there.part(here)
    await here.move(7)
    beats(A_LONG_TIME, here, there)
    there.members[ANN] = None
    there.neighbours.locate(ANN, [here.name, GatewayId("another")])
    there.other = here
    beats(12, here, there)
    assert there.shows(ANN) == 7


async def test_a_cursor_that_presence_knows_is_corrected_by_its_own_gateway(pair: tuple[Gateway, Gateway]):
    here, there = pair
    await here.move(7)
    beats(A_LONG_TIME, here, there)
    there.cursors.forget(ANN)
    there.cursors.learn_cursor(ANN, CursorPosition(x=3, y=0))
    there.cursors.roster_loaded()
    beats(12, here, there)
    assert there.shows(ANN) == 7


async def test_a_cursor_that_comes_with_the_roster_is_sent_to_members_that_had_none(pair: tuple[Gateway, Gateway]):
    _, there = pair
    bob = Member(BOB)
    there.fanout.admit(bob, b"")
    there.cursors.learn_cursor(ANN, CursorPosition(x=3, y=0))
    there.cursors.roster_loaded()
    there.fanout.flush()
    assert b'"x":3' in b"".join(bob.written)


@pytest.mark.parametrize("moves_meanwhile", [False, True])
async def test_a_member_that_presence_had_lost_for_a_while_keeps_its_cursor(
    pair: tuple[Gateway, Gateway], *, moves_meanwhile: bool
):
    here, there = pair
    await here.move(7)
    beats(A_LONG_TIME, here, there)
    del here.members[ANN]
    here.cursors.forget(ANN)
    there.part(here)
    if moves_meanwhile:
        await here.move(9)
    assert here.shows(ANN) is None
    beats(A_LONG_TIME, here, there)
    here.members[ANN] = None
    here.cursors.rejoined(ANN)
    await asyncio.sleep(0)
    there.meet(here)
    beats(12, here, there)
    assert (here.shows(ANN), there.shows(ANN)) == ((9, 9) if moves_meanwhile else (7, 7))


async def test_a_member_that_left_for_good_comes_back_without_a_cursor(pair: tuple[Gateway, Gateway]):
    here, there = pair
    await here.move(7)
    (member,) = here.fanout.of(ANN)
    here.fanout.dismiss(member)
    here.cursors.left(ANN)
    here.cursors.forget(ANN)
    here.fanout.admit(Member(ANN), b"")
    here.cursors.rejoined(ANN)
    await asyncio.sleep(0)
    beats(3, here, there)
    assert here.shows(ANN) is None
