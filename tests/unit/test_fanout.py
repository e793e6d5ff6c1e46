"""The frames that members get."""

from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.broadcasts.waiting import WAITING_MAX_BYTES
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.fanout import Fanout
from studyroom.gateway.wire.framing import text_frame
from studyroom.gateway.wire.items import Item, Kind
from studyroom.shared.contract.broadcasts import BroadcastSendPayload, encode_broadcast
from studyroom.shared.contract.ids import ConnectionId, MembershipId, UserId
from studyroom.shared.contract.presence import Profile


class Member:
    def __init__(self, *, lagging: bool = True) -> None:
        """`lagging`: it reads slowly."""
        self.lagging = lagging
        self.user, self.id, self.membership_id = UserId(str(uuid4())), ConnectionId(str(uuid4())), MembershipId("")
        self.profile = Profile(username="")
        self.got: list[bytes] = []
        self.write = self.got.append
        self.socket = self

    def deliver(self, frames: bytes) -> None:
        self.got.append(frames)


@pytest.mark.parametrize("chat", [False, True])
def test_members_get_everything_in_one_write_without_their_own_cursor(*, chat: bool):
    fanout = Fanout(GatewayMetrics(CollectorRegistry()), lambda: None)
    members = [Member(lagging=False) for _ in range(3)]
    for member in members:
        fanout.admit(member, b"welcome")
    if chat:
        fanout.send(Item(b"chat ", Kind.CHAT))
    fanout.flush({members[0].user: (b"a ", 1), members[1].user: (b"b ", 1)})
    before = b"chat " * chat
    assert [member.got[1:] for member in members] == [[before + b"b "], [before + b"a "], [before + b"a b "]]


def test_an_author_alone_gets_nothing_for_its_own_cursor():
    fanout = Fanout(GatewayMetrics(CollectorRegistry()), lambda: None)
    author = Member(lagging=False)
    fanout.admit(author, b"welcome")
    fanout.flush({author.user: (b"a ", 1)})
    assert author.got == [b"welcome"]


def test_slow_members_who_are_due_the_same_share_it():
    fanout = Fanout(GatewayMetrics(CollectorRegistry()), lambda: None)
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


# --- broadcast events --------------------------------------------------------------------------------------


def event(sender: Member, number: int, key: str | None = None) -> Item:
    sent = BroadcastSendPayload(event="moved", data=number, key=key)
    return Item(text_frame(encode_broadcast(sender.user, sent)), Kind.BROADCAST)


def fanout_with(*members: Member, metrics: GatewayMetrics | None = None) -> Fanout:
    fanout = Fanout(metrics or GatewayMetrics(CollectorRegistry()), lambda: None)
    for member in members:
        fanout.admit(member, b"")
    return fanout


def send(fanout: Fanout, sender: Member, *items: Item) -> None:
    for item in items:
        fanout.send(item, not_to=sender.user)
    fanout.flush()


def caught_up(fanout: Fanout, member: Member) -> bytes:
    member.got.clear()
    fanout.catch_up(member, lambda _user, _typists: [])
    return b"".join(member.got)


def frames(*items: Item) -> bytes:
    return b"".join(item.frame for item in items)


def test_a_slow_member_gets_waiting_events_in_order_when_it_has_caught_up():
    sender, fast, slow = Member(lagging=False), Member(lagging=False), Member()
    fanout = fanout_with(sender, fast, slow)
    one, two, three, four = (event(sender, 1, "a"), event(sender, 2), event(sender, 3, "b"), event(sender, 4, "a"))
    send(fanout, sender, one, two)
    send(fanout, sender, three, four)
    assert b"".join(fast.got) == frames(one, two, three, four)
    assert sender.got == [b""]
    assert slow.got == [b""]
    assert caught_up(fanout, slow) == frames(two, three, four)
    assert caught_up(fanout, slow) == b""


def test_a_slow_member_gets_no_event_after_the_leave_of_its_sender():
    leaver, stayer, slow = Member(lagging=False), Member(lagging=False), Member()
    metrics = GatewayMetrics(CollectorRegistry())
    fanout = fanout_with(leaver, stayer, slow, metrics=metrics)
    left = Item(b"left", Kind.LEFT)
    send(fanout, leaver, event(leaver, 1))
    fanout.collect(event(stayer, 2), not_to=stayer.user)
    send(fanout, leaver, event(leaver, 3), left)
    assert slow.got[-1] == b"left"
    assert caught_up(fanout, slow) == frames(event(stayer, 2))
    assert dropped(metrics) == 2


def test_a_slow_member_gets_no_event_of_its_own_and_none_from_before_its_join():
    sender, slow = Member(lagging=False), Member()
    fanout = fanout_with(sender)
    fanout.collect(event(sender, 1), not_to=sender.user)
    fanout.admit(slow, b"")
    send(fanout, slow, event(slow, 2))
    send(fanout, sender, event(sender, 3))
    assert caught_up(fanout, slow) == frames(event(sender, 3))


def test_events_that_wait_for_a_slow_member_are_bounded():
    sender, slow = Member(lagging=False), Member()
    metrics = GatewayMetrics(CollectorRegistry())
    fanout = fanout_with(sender, slow, metrics=metrics)
    large = Item(
        text_frame(encode_broadcast(sender.user, BroadcastSendPayload(event="large", data="x" * 8000))), Kind.BROADCAST
    )
    for _ in range(40):
        send(fanout, sender, large)
    caught = caught_up(fanout, slow)
    assert WAITING_MAX_BYTES - len(large.frame) < len(caught) <= WAITING_MAX_BYTES
    assert dropped(metrics) == 40 - len(caught) // len(large.frame)


def dropped(metrics: GatewayMetrics) -> float:
    counted: float = metrics.dropped.labels(lane="ephemeral", reason="slow_consumer")._value.get()
    return counted
