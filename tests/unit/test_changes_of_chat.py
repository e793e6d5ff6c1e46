"""Rules for changes of chat, and the ids by which errors name them."""

from datetime import UTC, datetime, timedelta

import pytest

from studyroom.gateway.living_chat.rules import ChangeRefused, check
from studyroom.gateway.rooms.history import Stored
from studyroom.shared.contract.chat import encode_stored, encode_tombstone
from studyroom.shared.contract.chat_messages import ChangeOfChat, id_for_errors
from studyroom.shared.contract.errors import ErrorCode
from studyroom.shared.contract.ids import MessageId, UserId, new_message_id, new_user_id
from studyroom.shared.contract.messages import InvalidMessage, decode_client_message

ANN, BOB, MESSAGE = new_user_id(), new_user_id(), new_message_id()
COMMITTED = datetime(2026, 11, 24, 9, tzinfo=UTC)
TARGET = f'"target_id":"{MESSAGE}","target_seq":7'
REQUESTS = {
    "EditChat": f'{{"type":"EditChat","payload":{{{TARGET},"content":"two"}}}}',
    "DeleteChat": f'{{"type":"DeleteChat","payload":{{{TARGET}}}}}',
    "ReactToChat": f'{{"type":"ReactToChat","payload":{{{TARGET},"reaction":"+","is_on":true}}}}',
}
OF_AUTHORS = ("EditChat", "DeleteChat")


def request(kind: str) -> ChangeOfChat:
    decoded = decode_client_message(REQUESTS[kind])
    assert decoded.type == kind
    return decoded  # type: ignore[return-value]


def stored(message: MessageId = MESSAGE) -> Stored:
    return Stored.of(7, encode_stored(ANN, "Ann", "one", 1, message), "2026-11-24T09:00:00.123456789Z")


def refusal(
    kind: str, user: UserId, target: Stored | None, *, after_seconds: int = 0, edit_seconds: int = 0
) -> ErrorCode | None:
    now = COMMITTED + timedelta(seconds=after_seconds)
    try:
        check(request(kind), user, target, now=now, edit_seconds=edit_seconds)
    except ChangeRefused as refused:
        return refused.code
    return None


@pytest.mark.parametrize("kind", REQUESTS)
def test_only_its_author_changes_a_message_and_anyone_may_react(kind: str):
    assert refusal(kind, ANN, stored()) is None
    assert refusal(kind, BOB, stored()) is (ErrorCode.NOT_AUTHOR if kind in OF_AUTHORS else None)


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_position_of_another_message_names_none(kind: str):
    assert refusal(kind, ANN, None) is ErrorCode.CHAT_NOT_FOUND
    assert refusal(kind, ANN, stored(new_message_id())) is ErrorCode.CHAT_NOT_FOUND
    gone = Stored.of(7, encode_tombstone(MESSAGE, 3), "2026-11-24T09:00:00Z")
    assert refusal(kind, ANN, gone) is ErrorCode.CHAT_NOT_FOUND


@pytest.mark.parametrize("kind", REQUESTS)
def test_authors_change_a_message_only_for_the_time_that_the_operator_allows(kind: str):
    assert refusal(kind, ANN, stored(), after_seconds=59, edit_seconds=60) is None
    late = refusal(kind, ANN, stored(), after_seconds=61, edit_seconds=60)
    assert late is (ErrorCode.EDIT_TOO_LATE if kind in OF_AUTHORS else None)
    assert refusal(kind, ANN, stored(), after_seconds=10**9) is None


@pytest.mark.parametrize("kind", REQUESTS)
def test_an_error_names_the_request_by_its_id_also_if_the_rest_of_it_is_wrong(kind: str):
    number = new_message_id()
    named = REQUESTS[kind].replace("{" + TARGET, f'{{"id":"{number}",{TARGET}')
    expected = MESSAGE if kind == "DeleteChat" else number
    assert id_for_errors(decode_client_message(named)) == expected
    with pytest.raises(InvalidMessage) as caught:
        decode_client_message(named.replace('"target_seq":7', '"target_seq":0'))
    assert caught.value.about == expected
