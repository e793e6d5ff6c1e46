"""Cursors beyond the rate of a client, and the messages after them."""

import time
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from prometheus_client import CollectorRegistry

from studyroom.gateway.auth.identity import NO_EXPIRY, Identity
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.settings import GatewaySettings
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.messages import JoinRoom, JoinRoomPayload

LARGE_BYTES = 990


class Cursors:
    """Where the cursor has been."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def move_cursor(self, _user: UserId, frame: bytes, _ingress_us: int) -> None:
        self.frames.append(frame)


def member(cursors: Cursors) -> Connection:
    """A member of a room, which may send two large messages at once, and many small ones."""
    room = RoomId(str(uuid4()))
    hub: Any = SimpleNamespace(
        limits=GatewaySettings(bytes_per_second=1024, message_max_bytes=1024).limits,
        metrics=GatewayMetrics(CollectorRegistry()),
        pulse=SimpleNamespace(beat=0),
    )
    identity = Identity(user=UserId(str(uuid4())), username="Ann", avatar_url=None, rooms=None, expires_at=NO_EXPIRY)
    connection = Connection(hub, identity, address=b"", hint=None, chat_max_chars=100)
    hosted: Any = SimpleNamespace(id=room, cursors=cursors)
    connection._session.receive(JoinRoom(payload=JoinRoomPayload(room_id=room)))
    connection.joined(hosted)
    return connection


def move(x: int, size: int = 0) -> bytes:
    return b'{"type":"CursorMove","payload":{"x":%d,"y":0}}'.ljust(size) % x


def test_a_cursor_that_was_too_large_does_not_come_after_a_newer_cursor():
    cursors = Cursors()
    ann = member(cursors)
    for x in (1, 2, 3):
        ann.received(move(x, LARGE_BYTES))
    ann.received(move(4))
    ann.refill(1, time.monotonic() + 1)
    assert b'"x":4' in cursors.frames[-1]


def test_the_newest_cursor_that_was_too_much_comes_with_the_next_refill():
    cursors = Cursors()
    ann = member(cursors)
    for x in range(10):
        ann.received(move(x, LARGE_BYTES))
    assert b'"x":1.0' in cursors.frames[-1]
    ann.refill(1, time.monotonic() + 1)
    assert b'"x":9.0' in cursors.frames[-1]


def test_a_connection_rests_only_after_a_beat_that_found_it_silent_and_its_allowances_full():
    ann = member(Cursors())
    now = time.monotonic()
    ann.received(move(1))
    for beat in range(1, 4):
        assert not ann.rests(beat, now + beat)
        ann.refill(beat, now + beat)
    ann.silent_beats = 3
    while not ann.rests(beat := beat + 1, now + beat):
        ann.refill(beat, now + beat)
    assert ann.active_beat == beat
    ann.silent_beats = 0
    assert not ann.rests(beat + 1, now + beat + 1)


def test_a_connection_that_has_rested_may_send_no_more_than_at_first():
    cursors = Cursors()
    ann = member(cursors)
    now = time.monotonic()
    ann.silent_beats = 1
    for beat in range(1, 200):
        if not ann.rests(beat, now + beat):
            ann.refill(beat, now + beat)
    for x in range(10):
        ann.received(move(x, LARGE_BYTES))
    assert len(cursors.frames) == 2
