import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.shared.contract.ephemeral import (
    MalformedBatch,
    cursor_of,
    decode_batch,
    decode_digest,
    encode_batch,
    encode_digest,
)
from studyroom.shared.contract.ids import RoomId, UserId
from studyroom.shared.contract.messages import CursorPosition, CursorUpdate, CursorUpdatePayload, encode

ROOM = RoomId("550e8400-e29b-41d4-a716-446655440000")
USER = UserId("7f2c1f0e-0d3b-4e0a-9c57-2b1f6a8f3d11")
STAMP = b"1700000000123456"

USERS = st.uuids().map(lambda value: UserId(str(value)))
ROOMS = st.uuids().map(lambda value: RoomId(str(value)))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIONS = st.builds(CursorPosition, x=FINITE, y=FINITE, element_id=st.none() | st.text(max_size=256))


def update(user: UserId, position: CursorPosition) -> bytes:
    payload = CursorUpdatePayload(user_id=user, x=position.x, y=position.y, element_id=position.element_id)
    return encode(CursorUpdate(payload=payload))


# --- batches -----------------------------------------------------------------------------------------------


@given(st.integers(0, 10**16 - 1), st.lists(st.tuples(USERS, POSITIONS), max_size=5))
def test_a_batch_is_read_back_in_order(ingress_us: int, moves: list[tuple[UserId, CursorPosition]]):
    notices = [(user, update(user, position)) for user, position in moves]
    assert decode_batch(encode_batch(ingress_us, notices)) == (ingress_us, notices)


def test_a_batch_is_spelled_as_documented():
    assert encode_batch(17, [(USER, b"{}"), (USER, b"[]")]) == b"0000000000000017\n%b{}\n%b[]" % ((USER.encode(),) * 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        STAMP[1:],
        STAMP + b"0",
        b"-" + STAMP[1:],
        b" " + STAMP[1:],
        b"\xff" * 16,
        STAMP + b"\n" + b"\xff" * 36 + b"{}",
        STAMP + b"\nshort",
        STAMP + b"\n",
    ],
)
def test_data_other_than_a_batch_is_malformed(data: bytes):
    with pytest.raises(MalformedBatch):
        decode_batch(data)


@given(st.binary() | st.binary(max_size=90).map(lambda rest: STAMP + b"\n" + rest))
def test_arbitrary_bytes_are_a_batch_or_malformed(data: bytes):
    try:
        _, notices = decode_batch(data)
    except MalformedBatch:
        return
    assert all(user.isascii() for user, _ in notices)


# --- digests -----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(ROOMS, USERS, POSITIONS), min_size=1, max_size=5))
def test_a_digest_is_read_back_in_order(moves: list[tuple[RoomId, UserId, CursorPosition]]):
    cursors = [(room, user, encode_position(position)) for room, user, position in moves]
    assert list(decode_digest(encode_digest(cursors))) == cursors


def encode_position(position: CursorPosition) -> bytes:
    return position.model_dump_json().encode()


@pytest.mark.parametrize(
    "data", [b"", b"short", b"\xff" * 80, f"{ROOM}{USER}{{}}\n".encode(), f"{ROOM}{USER}"[:-1].encode()]
)
def test_data_other_than_a_digest_is_malformed(data: bytes):
    with pytest.raises(MalformedBatch):
        list(decode_digest(data))


def test_nothing_of_a_malformed_digest_is_used():
    used = list[tuple[RoomId, UserId, bytes]]()
    with pytest.raises(MalformedBatch):
        used.extend(decode_digest(f"{ROOM}{USER}{{}}\nshort".encode()))
    assert used == []


@given(st.binary())
def test_arbitrary_bytes_are_a_digest_or_malformed(data: bytes):
    try:
        cursors = list(decode_digest(data))
    except MalformedBatch:
        return
    assert all(len(room) == len(user) == 36 for room, user, _ in cursors)


# --- cursors -----------------------------------------------------------------------------------------------


def test_a_cursor_is_cut_out_of_its_update():
    position = CursorPosition(x=1.5, y=-2.0, element_id="a")
    assert cursor_of(update(USER, position)) == b'{"x":1.5,"y":-2.0,"element_id":"a"}'


@given(USERS, POSITIONS)
def test_a_cursor_cut_out_is_byte_for_byte_its_position(user: UserId, position: CursorPosition):
    assert cursor_of(update(user, position)) == encode_position(position)


@given(USERS, POSITIONS)
def test_an_update_is_one_line_of_json(user: UserId, position: CursorPosition):
    ready = update(user, position)
    assert b"\n" not in ready
    assert json.loads(ready)["payload"]["element_id"] == position.element_id
