"""`protocol`: the events that bytes become, in any pieces they come in."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.wire.framing import Opcode, close_payload, encode_frame
from studyroom.gateway.wire.protocol import Broken, Closed, Event, Fragment, Ping, Pong, WebSocketProtocol
from studyroom.shared.contract.close_codes import CloseCode
from tests.support.frames import frame_bytes, frame_header

MAX_BYTES = 1000
EMPTY_CLOSE = encode_frame(Opcode.CLOSE, b"")


def received(*pieces: bytes) -> list[Event]:
    protocol = WebSocketProtocol(MAX_BYTES)
    return [event for piece in pieces for event in protocol.receive_data(piece)]


def broken(*pieces: bytes) -> CloseCode:
    (event,) = received(*pieces)
    assert isinstance(event, Broken)
    return event.code


def test_a_masked_message_comes_out_as_it_was():
    masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"  # RFC 6455 section 5.7
    assert received(masked) == [b"Hello"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, MAX_BYTES])
def test_a_message_of_any_size_comes_out_whole(size: int):
    assert received(frame_bytes(Opcode.TEXT, b"x" * size)) == [b"x" * size]


def test_a_message_with_a_length_of_eight_bytes_comes_out_whole():
    text = b"x" * 65_536
    assert list(WebSocketProtocol(len(text)).receive_data(frame_bytes(Opcode.TEXT, text))) == [text]


def test_an_endpoint_of_binary_messages_takes_them_whole_and_in_fragments_and_no_text():
    protocol = WebSocketProtocol(MAX_BYTES, Opcode.BINARY)
    parts = [frame_bytes(Opcode.BINARY, b"\xff\x00"), frame_bytes(Opcode.BINARY, b"\xc3", fin=False)]
    parts.append(frame_bytes(Opcode.CONTINUATION, b"\x28"))
    assert list(protocol.receive_data(b"".join(parts))) == [b"\xff\x00", Fragment(), Fragment(), b"\xc3\x28"]
    broken = protocol.receive_data(frame_bytes(Opcode.TEXT, b"text"))[-1]
    assert isinstance(broken, Broken)
    assert broken.code is CloseCode.UNSUPPORTED_DATA


def test_messages_of_one_read_come_out_in_order():
    assert received(frame_bytes(Opcode.TEXT, b"one") + frame_bytes(Opcode.TEXT, b"two")) == [b"one", b"two"]


def test_fragments_are_events_and_so_is_their_message():
    parts = [
        frame_bytes(Opcode.TEXT, "né".encode()[:2], fin=False),
        frame_bytes(Opcode.PING, b"?"),
        frame_bytes(Opcode.CONTINUATION, "né".encode()[2:]),
    ]
    wanted = [Fragment(), Ping(encode_frame(Opcode.PONG, b"?")), Fragment(), "né".encode()]
    assert received(*parts) == received(b"".join(parts)) == wanted


def test_a_pong_is_an_event():
    assert received(frame_bytes(Opcode.PONG, b"whatever")) == [Pong()]


def test_an_incomplete_frame_makes_no_event():
    frame = frame_bytes(Opcode.TEXT, b"x" * 200)
    assert received(frame[:-1]) == []
    assert received(frame[:-1], frame[-1:]) == [b"x" * 200]


# --- breaking the protocol ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [b"\x81\x05", b"\x83\x80", b"\x8b\x80", b"\xc1\x80", b"\xa1\x80", b"\x91\x80", b"\x09\x80", b"\x08\x80",
     b"\x89\xfe"],
    ids=["not masked", "opcode 3", "opcode 11", "reserved 1", "reserved 2", "reserved 3", "ping in fragments",
         "close in fragments", "long ping"],
)  # fmt: skip
def test_a_broken_head_is_seen_by_its_first_two_bytes(head: bytes):
    assert broken(head) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "length",
    [b"\xfe" + struct.pack("!H", 125), b"\xff" + struct.pack("!Q", 65_535), b"\xff" + struct.pack("!Q", 1 << 63)],
    ids=["two bytes for less", "eight bytes for less", "64 bits"],
)
def test_a_length_that_must_not_be_sent_is_refused(length: bytes):
    assert broken(b"\x81" + length + bytes(4)) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 65_536, 1 << 62, (1 << 63) - 1])
def test_a_message_over_the_limit_is_refused_before_it_comes(size: int):
    assert broken(frame_header(0x81, size)) is CloseCode.MESSAGE_TOO_BIG


def test_fragments_over_the_limit_together_are_refused():
    parts = [frame_bytes(Opcode.TEXT, b"x" * 999, fin=False), frame_bytes(Opcode.CONTINUATION, b"xx")]
    *_, last = received(*parts)
    assert isinstance(last, Broken)
    assert last.code is CloseCode.MESSAGE_TOO_BIG


def test_text_that_is_not_utf8_is_refused():
    assert broken(frame_bytes(Opcode.TEXT, b"caf\xe9")) is CloseCode.INVALID_TEXT


def test_frames_before_a_broken_frame_become_events_and_frames_after_it_do_not():
    before, after = frame_bytes(Opcode.TEXT, b"before"), frame_bytes(Opcode.TEXT, b"after")
    protocol = WebSocketProtocol(MAX_BYTES)
    events = protocol.receive_data(before + b"\x83\x80" + after)
    assert [type(event) for event in events] == [bytes, Broken]
    assert list(protocol.receive_data(after)) == []


# --- closing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "answer", "code"),
    [
        (b"", EMPTY_CLOSE, CloseCode.NO_STATUS),
        (close_payload(1000, "bye"), encode_frame(Opcode.CLOSE, struct.pack("!H", 1000)), 1000),
        (close_payload(4321, ""), encode_frame(Opcode.CLOSE, struct.pack("!H", 4321)), 4321),
    ],
)
def test_a_close_frame_is_answered_with_its_own_code(body: bytes, answer: bytes, code: int):
    protocol = WebSocketProtocol(MAX_BYTES)
    after = frame_bytes(Opcode.TEXT, b"too late")
    assert list(protocol.receive_data(frame_bytes(Opcode.CLOSE, body) + after)) == [Closed(answer)]
    assert list(protocol.receive_data(after)) == []
    assert protocol.close_code == code


def test_the_answer_to_our_close_frame_is_not_answered():
    protocol = WebSocketProtocol(MAX_BYTES)
    assert protocol.close(4000, "slow") == encode_frame(Opcode.CLOSE, struct.pack("!H", 4000) + b"slow")
    assert list(protocol.receive_data(frame_bytes(Opcode.CLOSE, close_payload(1000, "")))) == [Closed(b"")]
    assert protocol.close_code == 4000


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\x03", CloseCode.PROTOCOL_ERROR),
        (struct.pack("!H", 1005), CloseCode.PROTOCOL_ERROR),
        (close_payload(1000, "") + b"\xff", CloseCode.INVALID_TEXT),
    ],
)
def test_a_close_frame_that_must_not_be_sent_breaks_the_protocol(body: bytes, code: CloseCode):
    assert broken(frame_bytes(Opcode.CLOSE, body)) is code


# --- pieces ------------------------------------------------------------------------------------------------

FRAMES = st.builds(
    frame_bytes, st.integers(0, 15), st.binary(max_size=200) | st.text(max_size=60).map(str.encode), fin=st.booleans()
)
WELL = st.builds(frame_bytes, st.sampled_from([Opcode.TEXT, Opcode.PING, Opcode.PONG]), st.just(b"{}"))


@given(st.lists(WELL | WELL | FRAMES, max_size=6).map(b"".join), st.lists(st.integers(0, 500), max_size=5))
def test_events_are_the_same_for_bytes_in_any_pieces(data: bytes, cuts: list[int]):
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert received(*pieces) == received(data) == received(*(data[place : place + 1] for place in range(len(data))))
