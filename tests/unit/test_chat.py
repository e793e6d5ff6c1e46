import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.shared.contract.chat import deleted_by, encode_stored, encode_tombstone, is_reset, user_of, with_sequence
from studyroom.shared.contract.chat_messages import Chat, ChatDeleted
from studyroom.shared.contract.ids import MessageId, UserId
from studyroom.shared.contract.messages import decode_server_message, encode

USER = UserId("7f2c1f0e-0d3b-4e0a-9c57-2b1f6a8f3d11")
OTHER = UserId("0a1b2c3d-4e5f-4678-9abc-def012345678")
MESSAGE = MessageId("1e57ab1e-2222-4333-8444-555566667777")


def delivered(content: str, *, username: str = "Ada", sequence: int = 1) -> Chat:
    message = decode_server_message(
        with_sequence(encode_stored(USER, username, content, 1_700_000_000, MESSAGE), sequence)
    )
    assert isinstance(message, Chat)
    return message


def test_a_delivery_is_spelled_as_in_the_protocol():
    stored = encode_stored(USER, "Ada", "hi", 1_700_000_000, MESSAGE)
    assert with_sequence(stored, 42).decode() == (
        f'{{"type":"Chat","payload":{{"user_id":"{USER}","username":"Ada","content":"hi",'
        f'"timestamp":1700000000,"id":"{MESSAGE}","seq":42}}}}'
    )


@pytest.mark.parametrize(
    "content", ['"', "\\", "}}", ',"seq":0}}', "a\nb\r\n\t", "\0\x1f\x7f", "\u2028", "\U0001f44b é", "</script>"]
)
def test_any_content_arrives_as_it_was_written(content: str):
    assert delivered(content).payload.content == content


@given(st.text(), st.text(), st.integers(1, 2**63))
def test_a_delivered_message_is_valid_for_any_content(content: str, username: str, sequence: int):
    payload = delivered(content, username=username, sequence=sequence).payload
    assert (payload.content, payload.username, payload.seq) == (content, username, sequence)
    assert (payload.user_id, payload.timestamp, payload.id) == (USER, 1_700_000_000, MESSAGE)


@given(st.text(), st.integers(1, 2**63))
def test_cutting_and_filling_in_is_the_same_as_encoding(content: str, sequence: int):
    message = delivered(content, sequence=sequence)
    assert with_sequence(encode_stored(USER, "Ada", content, 1_700_000_000, MESSAGE), sequence) == encode(message)


@given(st.text())
def test_a_stored_message_is_one_line(content: str):
    assert b"\n" not in encode_stored(USER, "Ada", content, 1_700_000_000, MESSAGE)


@given(st.integers(1, 2**63), st.integers(1, 2**63))
def test_a_tombstone_names_the_message_it_deletes(deleted: int, sequence: int):
    stored = encode_tombstone(MESSAGE, deleted)
    sent = decode_server_message(with_sequence(stored, sequence))
    assert isinstance(sent, ChatDeleted)
    assert (sent.payload.id, sent.payload.deleted_seq, sent.payload.seq) == (MESSAGE, deleted, sequence)
    assert deleted_by(stored) == deleted_by(with_sequence(stored, sequence)) == deleted


@given(st.text(), st.text())
def test_nothing_that_people_write_is_taken_for_a_tombstone(content: str, username: str):
    assert deleted_by(encode_stored(USER, username, content, 1_700_000_000, MESSAGE)) == 0
    assert deleted_by(encode_stored(USER, "A", '{"type":"ChatDeleted","deleted_seq":7', 1, MESSAGE)) == 0


@given(st.text(), st.text())
def test_the_user_of_a_message_is_its_author_with_any_text(content: str, username: str):
    forged = f'","user_id":"{OTHER}","content":"{content}'
    assert user_of(encode_stored(USER, username + forged, forged, 1_700_000_000, MESSAGE)) == USER


@pytest.mark.parametrize("resets", [False, True])
def test_a_tombstone_names_no_user(resets: bool):
    stored = encode_tombstone(MESSAGE, 7, resets=resets)
    assert (user_of(stored), is_reset(stored), deleted_by(stored)) == (None, resets, 7)
    assert not is_reset(encode_stored(USER, "Ada", '"resets":true', 1_700_000_000, MESSAGE))
