"""The wire of y-websocket and Hocuspocus. The bytes in hexadecimal are from yjs 13.6, y-protocols 1.0 and lib0 0.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.documents import messages
from studyroom.gateway.documents.messages import Awareness, Close, Edit, Ignored, QueryAwareness, SyncStep1, Token
from studyroom.shared.contract import lib0
from studyroom.shared.contract.lib0 import Malformed, Reader, contains, read_deletions

STEP_1 = bytes.fromhex("000003010703")
STEP_2 = bytes.fromhex("000118010307000401017401618107000184070101630107010101")
UPDATE = bytes.fromhex("00020b0101070004010174016100")
AWARENESS = bytes.fromhex("010701187b2275736572223a7b226e616d65223a225a6fc3ab227d7d")
AUTH = bytes.fromhex("056e6f746573020003746f6b05342e382e30")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"), (127, "7f"), (128, "8001"), (16384, "808001"), (2**32, "8080808010"),
        (2**53 - 1, "ffffffffffffff0f"),
    ],
)  # fmt: skip
def test_numbers_are_encoded_as_lib0_does(value: int, encoded: str):
    assert lib0.number(value).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).number() == value


@given(st.lists(st.one_of(st.integers(0, 2**53 - 1), st.binary(max_size=300), st.text(max_size=50))))
def test_values_that_were_written_are_read_again(values: list[int | bytes | str]):
    encoded = b""
    for value in values:
        match value:
            case int():
                encoded += lib0.number(value)
            case bytes():
                encoded += lib0.data(value)
            case str():
                encoded += lib0.text(value)
    reader = Reader(encoded)
    for value in values:
        match value:
            case int():
                assert reader.number() == value
            case bytes():
                assert reader.data() == value
            case str():
                assert reader.text() == value
    assert reader.rest == b""


@pytest.mark.parametrize("encoded", [b"", b"\x80", b"\xff" * 8, b"\xff" * 20])
def test_a_number_that_is_cut_off_or_too_large_is_malformed(encoded: bytes):
    with pytest.raises(Malformed, match="number"):
        Reader(encoded).number()


def test_a_byte_string_that_is_cut_off_and_a_text_that_is_not_utf8_are_malformed():
    with pytest.raises(Malformed, match="cut off"):
        Reader(b"\x05abc").data()
    with pytest.raises(Malformed, match="UTF-8"):
        Reader(b"\x01\xff").text()


def test_messages_of_y_websocket_are_read():
    assert messages.read(STEP_1) == SyncStep1(STEP_1[3:])
    assert messages.read(STEP_2) == Edit(STEP_2[3:], is_answer=True)
    assert messages.read(UPDATE) == Edit(UPDATE[3:], is_answer=False)
    assert messages.read(b"\x01" + lib0.data(AWARENESS)) == Awareness(AWARENESS)
    assert messages.read(b"\x03") == QueryAwareness()


def test_messages_of_hocuspocus_have_the_name_of_their_document_before_them():
    name, message = messages.split_name(AUTH)
    assert name == "notes"
    assert messages.read(message) == Token("tok")
    assert messages.split_name(messages.named("notes", UPDATE)) == ("notes", UPDATE)
    assert messages.read(b"\x07") == Close()


def test_a_name_of_hocuspocus_may_have_a_session_after_it():
    assert messages.document_of("notes\0abc") == "notes"
    assert messages.document_of("notes") == "notes"


def test_a_pong_has_no_name():
    assert messages.split_name(b"\x0a") == ("", b"\x0a")
    assert messages.read(b"\x0a") == Ignored()


@pytest.mark.parametrize(
    "message", [b"", b"\x04", b"\x00", b"\x00\x03\x00", b"\x00\x00\x05ab", b"\x02\x01\x00", b"\x09"]
)
def test_other_messages_are_malformed(message: bytes):
    with pytest.raises(Malformed):
        messages.read(message)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_malformed(data: bytes):
    try:
        name, message = messages.split_name(data)
        messages.read(message)
        messages.document_of(name)
    except Malformed:
        pass


def test_messages_of_the_server_have_the_bytes_of_the_clients():
    assert messages.step_1(STEP_1[3:]) == STEP_1
    assert messages.step_2(STEP_2[3:]) == STEP_2
    assert messages.update(UPDATE[3:]) == UPDATE
    assert messages.awareness(b"\x00").hex() == "010100"
    assert messages.denied("no") == b"\x02\x01\x02no"
    assert messages.permission_denied("no") == b"\x02\x00\x02no"
    assert messages.authenticated(may_write=False) == b"\x02\x02\x08readonly"
    assert messages.authenticated(may_write=True) == b"\x02\x02\x0aread-write"
    assert messages.sync_status(stored=True) == b"\x08\x01"
    assert messages.sync_status(stored=False) == b"\x08\x00"
    assert messages.closed("no") == b"\x07\x02no"
    assert messages.deleted("no")[2:] == b'{"type": "DocumentDeleted", "message": "no"}'


def test_deletions_are_compared_by_their_ranges():
    everything = read_deletions(bytes.fromhex("0207020002040109010105"))
    assert everything == {7: [(0, 2), (4, 5)], 9: [(1, 6)]}
    assert contains(everything, read_deletions(bytes.fromhex("0109010202")))
    assert contains(everything, {})
    assert not contains(everything, {7: [(1, 3)]})
    assert not contains(everything, {8: [(0, 1)]})


def test_ranges_that_touch_are_one():
    assert read_deletions(bytes.fromhex("010703020300020501")) == {7: [(0, 6)]}


@given(st.sampled_from([b"", messages.named("notes", b"")]), st.sampled_from([UPDATE, STEP_2, AWARENESS]), st.data())
def test_a_short_edit_is_read_as_any_other(prefix: bytes, message: bytes, data: st.DataObject):
    changed = bytearray(prefix + message)
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    found = messages.short_edit(bytes(changed), prefix)
    if found is not None:
        assert changed.startswith(prefix)
        assert messages.read(bytes(changed[len(prefix) :])) == Edit(found, is_answer=False)


@pytest.mark.parametrize("prefix", [b"", messages.named("notes", b"")])
@pytest.mark.parametrize("size", [1, 127, 128])
def test_edits_of_up_to_127_bytes_are_short(prefix: bytes, size: int):
    message = prefix + messages.update(bytes(size))
    assert messages.short_edit(message, prefix) == (bytes(size) if size <= 127 else None)
