"""Broadcast events of one room on two gateways. The network between them is a list here."""

from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from studyroom.gateway.broadcasts.broadcasts import Broadcasts
from studyroom.gateway.broadcasts.waiting import WAITING_MAX_BYTES, Waiting, event_of
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.rooms.change_log import ChangeLog
from studyroom.gateway.rooms.roster import Roster
from studyroom.gateway.wire.framing import payload_of
from studyroom.gateway.wire.items import Item, Kind
from studyroom.shared.contract.broadcasts import (
    BROADCAST_OVERHEAD_BYTES,
    Broadcast,
    BroadcastBatch,
    BroadcastPayload,
    BroadcastSend,
    BroadcastSendPayload,
    data_bytes,
    decode_broadcasts,
    encode_broadcast,
    sender_of,
    slot_of,
)
from studyroom.shared.contract.ephemeral import MalformedBatch
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.messages import decode_client_message, decode_server_message
from studyroom.shared.contract.presence import Profile

ROOM = RoomId(str(uuid4()))
ANN, BOB = UserId(str(uuid4())), UserId(str(uuid4()))
GATEWAY = GatewayId(str(uuid4()))
ANYBODY = Profile(username="")


def event(number: int, key: str | None = None, *, user: UserId = ANN, name: str = "moved") -> bytes:
    return encode_broadcast(user, BroadcastSendPayload(event=name, data=number, key=key))


def read(message: bytes) -> BroadcastPayload:
    decoded = decode_server_message(message)
    assert isinstance(decoded, Broadcast)
    return decoded.payload


def numbers(frames: list[bytes]) -> list[int]:
    return [read(payload_of(frame)).data for frame in frames]


@dataclass
class Gateway:
    """One gateway's part of the room. `collected` are the frames that its members get."""

    name: GatewayId = field(default_factory=lambda: GatewayId(str(uuid4())))
    collected: list[bytes] = field(default_factory=list)
    published: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.roster, self.changes = Roster(), ChangeLog()
        self.roster.load("epoch", 1, [])
        self.changes.load(1)
        self.metrics = GatewayMetrics(CollectorRegistry())
        self.broadcasts = Broadcasts(
            ROOM, self.name, self, lambda _, batch: self.published.append(batch), lambda _: None, self.metrics,
            self.roster, self.changes,
        )  # fmt: skip

    def collect(self, item: Item, *, not_to: UserId | None = None) -> None:
        assert item.kind is Kind.BROADCAST
        assert sender_of(payload_of(item.frame)) == not_to
        self.collected.append(item.frame)

    def put(self, user: UserId, revision: int) -> None:
        """The member is in the roster, as of this change."""
        self.roster.put(user, ANYBODY, revision)
        self.changes.last = max(self.changes.last, revision)
        self.broadcasts.joined(user)

    def remove(self, user: UserId, revision: int) -> None:
        self.roster.remove(user, revision)
        self.changes.last = max(self.changes.last, revision)
        self.broadcasts.left(user)

    def send(self, *messages: bytes) -> None:
        for message in messages:
            self.broadcasts.send(message, 1)
        self.broadcasts.flush()

    def receive(self, *batches: bytes) -> None:
        for batch in batches:
            self.broadcasts.receive(batch)
        self.broadcasts.flush()

    @property
    def shown(self) -> list[int]:
        return numbers(self.collected)

    def dropped(self, reason: str) -> float:
        counted: float = self.metrics.dropped.labels(lane="ephemeral", reason=reason)._value.get()
        return counted


@pytest.fixture
def here() -> Gateway:
    gateway = Gateway()
    gateway.put(ANN, 2)
    return gateway


@pytest.fixture
def there() -> Gateway:
    gateway = Gateway()
    gateway.put(ANN, 2)
    return gateway


# --- from one gateway to the other -------------------------------------------------------------------------


def test_events_reach_the_members_of_both_gateways_in_order(here: Gateway, there: Gateway):
    here.send(event(1), event(2), event(3))
    there.receive(*here.published)
    assert here.shown == there.shown == [1, 2, 3]


def test_a_newer_event_with_the_same_key_replaces_one_that_waits_and_comes_last(here: Gateway, there: Gateway):
    here.send(event(1, "a"), event(2), event(3, "b"), event(4, "a"), event(5, "a", name="other"), event(6))
    there.receive(*here.published)
    assert here.shown == there.shown == [2, 3, 4, 5, 6]
    assert here.metrics.traffic.conflated[Kind.BROADCAST] == 1


def test_events_that_come_before_the_join_of_their_sender_wait_for_it(here: Gateway):
    late = Gateway()
    here.send(event(1), event(2))
    late.receive(*here.published)
    assert late.shown == []
    late.put(ANN, 2)
    late.broadcasts.flush()
    assert late.shown == [1, 2]


def test_events_of_a_user_who_does_not_join_are_dropped_after_a_while(here: Gateway):
    late = Gateway()
    here.send(event(1), event(2))
    late.receive(*here.published)
    for _ in range(10):
        late.broadcasts.beat()
    late.put(ANN, 2)
    late.broadcasts.flush()
    assert late.shown == []
    assert late.dropped("not_in_roster") == 2


def test_events_that_wait_for_a_join_are_bounded(here: Gateway):
    late = Gateway()
    large = encode_broadcast(ANN, BroadcastSendPayload(event="large", data="x" * 8000))
    here.send(*[large] * 40)
    late.receive(*here.published)
    late.put(ANN, 2)
    late.broadcasts.flush()
    assert sum(map(len, late.collected)) <= WAITING_MAX_BYTES
    assert late.dropped("not_in_roster") == 40 - len(late.collected) > 0


def test_events_come_before_the_leave_of_their_sender_and_never_after_it(here: Gateway, there: Gateway):
    here.broadcasts.send(event(1), 1)
    here.remove(ANN, 3)  # members are about to get the `UserLeft`
    assert here.shown == [1]
    there.remove(ANN, 3)
    there.receive(*here.published)
    there.put(ANN, 4)
    there.broadcasts.flush()
    assert there.shown == []
    assert there.dropped("not_in_roster") == 1


def test_a_batch_that_a_frozen_server_delivers_late_reorders_nothing(here: Gateway, there: Gateway):
    here.send(event(1))
    here.send(event(2))
    first, second = here.published
    there.receive(second, first)
    assert there.shown == [2]
    assert there.dropped("out_of_order") == 1


def test_a_batch_that_comes_back_to_its_own_gateway_is_not_delivered_again(here: Gateway):
    here.send(event(1))
    here.receive(*here.published)
    assert here.shown == [1]


def test_the_parts_of_a_batch_that_was_too_long_are_all_delivered(there: Gateway):
    for number in (1, 2):
        there.receive(BroadcastBatch(1, 7, 2, GATEWAY, [event(number)]).encode())
    assert there.shown == [1, 2]


def test_events_of_several_gateways_do_not_disturb_each_other(there: Gateway):
    there.put(BOB, 3)
    there.receive(BroadcastBatch(1, 900, 3, GATEWAY, [event(1)]).encode())
    there.receive(BroadcastBatch(1, 1, 3, GatewayId(str(uuid4())), [event(2, user=BOB)]).encode())
    assert there.shown == [1, 2]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"1 2 3",
        b"1 2 3 4 5",
        b"x 2 3 gateway",
        b"\xff 2 3 gateway",
        b"1 2 3 gateway\n",
        b'1 2 3 gateway\n{"type":"Broadcast","payload":{"user_id":"short',
        b"1 2 3 gateway\n{}",
        b'1 2 3 gateway\n{"type":"Broadcast","payload":{"user_id":"' + b"\xff" * 36 + b'"}}',
    ],
)
def test_a_malformed_batch_is_refused_and_changes_nothing(there: Gateway, data: bytes):
    with pytest.raises(MalformedBatch):
        decode_broadcasts(data)
    there.receive(data)
    assert there.shown == []


# --- client-ready events -----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.none() | st.text(min_size=1, max_size=20) | st.sampled_from(['","data":', '"', "\\", ',"key":', "\n"])


@given(st.from_regex(r"[a-z][a-z_.:-]{0,9}", fullmatch=True), JSON, KEYS)
def test_an_event_arrives_unchanged_and_its_parts_are_found_without_parsing(name: str, data: object, key: str):
    sent = BroadcastSendPayload(event=name, data=data, key=key)
    again = decode_client_message(BroadcastSend(payload=sent).model_dump_json())
    assert isinstance(again, BroadcastSend)
    encoded = encode_broadcast(ANN, again.payload)
    payload = read(encoded)
    assert (payload.user_id, payload.event, payload.data, payload.key) == (ANN, name, data, key)
    assert sender_of(encoded) == ANN
    other = encode_broadcast(ANN, BroadcastSendPayload(event=name, data="other", key=key))
    assert (slot_of(encoded) is None) == (key is None)
    assert slot_of(encoded) == slot_of(other)
    assert slot_of(encoded) != slot_of(encode_broadcast(BOB, again.payload)) or key is None
    assert encoded.endswith(encoded[len(encoded) - 2 - data_bytes(encoded) :])
    assert b"\n" not in encoded
    assert decode_broadcasts(BroadcastBatch(1, 2, 3, GATEWAY, [encoded]).encode()).messages == [encoded]


def test_the_longest_names_and_keys_fit_into_the_overhead_that_is_reserved_for_them():
    sent = BroadcastSendPayload(event="e" * 64, data=None, key="\x01" * 128)
    batch = BroadcastBatch(10**16, 10**19, 10**19, GATEWAY, [encode_broadcast(ANN, sent)])
    assert len(batch.encode()) - len("null") <= BROADCAST_OVERHEAD_BYTES


# --- events that wait --------------------------------------------------------------------------------------


def kept(waiting: Waiting) -> list[int]:
    return numbers([one.frame for one in waiting.take()])


def test_waiting_events_beyond_the_limit_go_the_oldest_first():
    one = len(event_of(event(1), 0).frame)
    waiting = Waiting(max_bytes=3 * one)
    for number in range(5):
        waiting.add(event_of(event(number), 0))
    assert waiting.trim() == 2
    assert kept(waiting) == [2, 3, 4]
    assert (len(waiting), waiting.trim()) == (0, 0)


def test_replaced_and_forgotten_events_do_not_count_for_the_limit():
    waiting = Waiting(max_bytes=1000)
    for number in range(100):
        waiting.add(event_of(event(number, "key"), 0))
        waiting.add(event_of(event(number, user=BOB), 0))
        assert waiting.forget(BOB) == 1
    assert waiting.trim() == 0
    assert kept(waiting) == [99]


@given(st.lists(st.tuples(st.sampled_from([ANN, BOB]), st.sampled_from([None, "a", "b"])), max_size=30))
def test_the_events_of_a_sender_stay_in_order_and_the_newest_of_each_key_stays(sent: list[tuple[UserId, str | None]]):
    waiting = Waiting()
    for number, (user, key) in enumerate(sent):
        waiting.add(event_of(event(number, key, user=user), 0))
    left = kept(waiting)
    newest = {}
    for number, (user, key) in enumerate(sent):
        newest[user, number if key is None else key] = number
    assert left == sorted(newest.values())
