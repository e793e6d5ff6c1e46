import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.wire.framing import (
    PING_FRAME,
    Assembler,
    Opcode,
    Violation,
    close_payload,
    encode_frame,
    parse_close,
    text_frame,
)
from studyroom.shared.contract.close_codes import CloseCode

TEXT, CONTINUATION = Opcode.TEXT, Opcode.CONTINUATION


def violation(assembler: Assembler, opcode: int, payload: bytes, *, final: bool) -> CloseCode:
    with pytest.raises(Violation) as caught:
        assembler.feed(opcode, payload, final=final)
    assert str(caught.value)
    return caught.value.code


# --- frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (1, b"\x81\x01"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_header_has_the_shortest_length_field(size: int, header: bytes):
    assert text_frame(b"x" * size) == header + b"x" * size


def test_control_frames_are_final_and_unmasked():
    assert PING_FRAME == b"\x89\x00"
    assert encode_frame(Opcode.PONG, b"abc") == b"\x8a\x03abc"
    assert encode_frame(Opcode.CLOSE, close_payload(1000, "bye")) == b"\x88\x05\x03\xe8bye"


# --- messages of several frames ----------------------------------------------------------------------------


def test_a_message_of_one_frame_is_complete_at_once():
    assembler = Assembler(100)
    assert assembler.feed(TEXT, b"hello", final=True) == b"hello"
    assert not assembler.in_message


def test_fragments_are_joined():
    assembler = Assembler(100)
    assert assembler.feed(TEXT, b"one ", final=False) is None
    assert assembler.in_message
    assert assembler.feed(CONTINUATION, b"", final=False) is None
    assert assembler.feed(CONTINUATION, b"message", final=True) == b"one message"
    assert not assembler.in_message


def test_the_next_message_starts_afresh():
    assembler = Assembler(8)
    for text in ("first", "second"):
        assembler.feed(TEXT, text[:2].encode(), final=False)
        assert assembler.feed(CONTINUATION, text[2:].encode(), final=True) == text.encode()


@pytest.mark.parametrize("cut", range(len("aé€\U0001f44b".encode()) + 1))
def test_a_character_may_be_cut_at_every_byte(cut: int):
    encoded = "aé€\U0001f44b".encode()
    assembler = Assembler(100)
    assert assembler.feed(TEXT, encoded[:cut], final=False) is None
    assert assembler.feed(CONTINUATION, encoded[cut:], final=True) == encoded


@given(st.text(max_size=40), st.lists(st.integers(0, 160), max_size=6))
def test_any_text_in_any_fragments_arrives_whole(text: str, cuts: list[int]):
    encoded = text.encode()
    places = [0, *sorted(min(cut, len(encoded)) for cut in cuts), len(encoded)]
    fragments = [encoded[start:end] for start, end in pairwise(places)]
    assembler = Assembler(len(encoded))
    results = [
        assembler.feed(CONTINUATION if index else TEXT, fragment, final=index == len(fragments) - 1)
        for index, fragment in enumerate(fragments)
    ]
    assert results == [None] * (len(fragments) - 1) + [encoded]


@given(st.binary(max_size=12))
def test_a_message_is_taken_exactly_if_it_is_utf8(data: bytes):
    assembler = Assembler(100)
    try:
        data.decode()
    except UnicodeDecodeError:
        assert violation(assembler, TEXT, data, final=True) is CloseCode.INVALID_TEXT
    else:
        assert assembler.feed(TEXT, data, final=True) == data


@pytest.mark.parametrize(
    "bad",
    [b"\xff", b"\x80", b"\xc0", b"\xc3\x28", b"\xe0\x80", b"\xf0\x80", b"\xf4\x90", b"\xf5", b"ok\xfe"],
)
def test_bad_utf8_fails_at_the_first_fragment_that_shows_it(bad: bytes):
    assert violation(Assembler(100), TEXT, bad, final=False) is CloseCode.INVALID_TEXT


def test_bad_utf8_across_a_boundary_fails_at_the_fragment_that_shows_it():
    assembler = Assembler(100)
    assert assembler.feed(TEXT, b"\xf4", final=False) is None
    assert violation(assembler, CONTINUATION, b"\x90", final=False) is CloseCode.INVALID_TEXT


@pytest.mark.parametrize("cut", range(3))
def test_a_surrogate_half_fails_with_its_last_byte_at_the_latest(cut: int):
    assembler = Assembler(100)
    assembler.feed(TEXT, b"\xed\xa0\x80"[:cut], final=False)
    assert violation(assembler, CONTINUATION, b"\xed\xa0\x80"[cut:], final=False) is CloseCode.INVALID_TEXT


def test_a_message_that_ends_inside_a_character_is_refused():
    assembler = Assembler(100)
    assembler.feed(TEXT, b"caf\xc3", final=False)
    assert violation(assembler, CONTINUATION, b"", final=True) is CloseCode.INVALID_TEXT


def test_a_continuation_of_nothing_is_refused():
    assert violation(Assembler(100), CONTINUATION, b"x", final=True) is CloseCode.PROTOCOL_ERROR


def test_a_continuation_after_a_whole_message_is_refused():
    assembler = Assembler(100)
    assembler.feed(TEXT, b"whole", final=True)
    assert violation(assembler, CONTINUATION, b"x", final=True) is CloseCode.PROTOCOL_ERROR


def test_a_new_message_inside_a_message_is_refused():
    assembler = Assembler(100)
    assembler.feed(TEXT, b"one", final=False)
    assert violation(assembler, TEXT, b"two", final=True) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("final", [True, False])
def test_binary_is_refused(final: bool):
    assert violation(Assembler(100), Opcode.BINARY, b"x", final=final) is CloseCode.UNSUPPORTED_DATA


def test_an_endpoint_of_binary_messages_joins_their_fragments_and_refuses_text():
    assembler = Assembler(100, Opcode.BINARY)
    assert assembler.feed(Opcode.BINARY, b"\xff", final=False) is None
    assert assembler.feed(CONTINUATION, b"\xc3", final=True) == b"\xff\xc3"
    assert violation(assembler, TEXT, b"x", final=True) is CloseCode.UNSUPPORTED_DATA


def test_a_message_at_the_limit_is_taken_and_one_byte_more_refused():
    assert Assembler(5).feed(TEXT, b"12345", final=True) == b"12345"
    assert violation(Assembler(5), TEXT, b"123456", final=True) is CloseCode.MESSAGE_TOO_BIG


def test_the_limit_counts_all_fragments():
    assembler = Assembler(5)
    assembler.feed(TEXT, b"123", final=False)
    assembler.feed(CONTINUATION, b"45", final=False)
    assert violation(assembler, CONTINUATION, b"6", final=False) is CloseCode.MESSAGE_TOO_BIG


def test_the_limit_counts_bytes_not_characters():
    assert violation(Assembler(5), TEXT, "ééé".encode(), final=True) is CloseCode.MESSAGE_TOO_BIG


def test_empty_fragments_without_end_take_no_memory():
    assembler = Assembler(100)
    assembler.feed(TEXT, b"", final=False)
    for _ in range(1000):
        assembler.feed(CONTINUATION, b"", final=False)
    assert len(assembler._parts) < 10


# --- close frames ------------------------------------------------------------------------------------------


def test_an_empty_close_frame_has_no_status():
    assert parse_close(b"") == (CloseCode.NO_STATUS, "")


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_a_code_that_may_be_sent_is_taken(code: int):
    assert parse_close(struct.pack("!H", code) + "tschüß".encode()) == (code, "tschüß")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_a_code_that_must_not_be_sent_is_refused(code: int):
    with pytest.raises(Violation, match=str(code)) as caught:
        parse_close(struct.pack("!H", code))
    assert caught.value.code is CloseCode.PROTOCOL_ERROR


def test_a_close_frame_of_one_byte_is_refused():
    with pytest.raises(Violation) as caught:
        parse_close(b"\x03")
    assert caught.value.code is CloseCode.PROTOCOL_ERROR


def test_a_close_reason_that_is_not_utf8_is_refused():
    with pytest.raises(Violation) as caught:
        parse_close(b"\x03\xe8\xff")
    assert caught.value.code is CloseCode.INVALID_TEXT


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("é" * 62, "é" * 61),
        ("x" + "\U0001f44b" * 31, "x" + "\U0001f44b" * 30),
    ],
)
def test_a_long_reason_is_cut_at_a_character(reason: str, kept: str):
    assert parse_close(close_payload(1000, reason)) == (1000, kept)


@given(st.sampled_from([1000, 1011, 1012, 4000]), st.text(max_size=200))
def test_every_close_we_send_fits_a_control_frame_and_is_valid(code: int, reason: str):
    payload = close_payload(code, reason)
    assert len(payload) <= 125
    parsed, kept = parse_close(payload)
    assert parsed == code
    assert reason.startswith(kept)
