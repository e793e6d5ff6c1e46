import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.shared.contract.close_codes import (
    CloseCode,
    Reconnect,
    parse_reconnect_hint,
    reconnect_hint,
    reconnect_rule,
)

RULES = {
    CloseCode.NORMAL: Reconnect.NEVER,
    CloseCode.GOING_AWAY: Reconnect.RESUME,
    CloseCode.PROTOCOL_ERROR: Reconnect.NEVER,
    CloseCode.UNSUPPORTED_DATA: Reconnect.NEVER,
    CloseCode.NO_STATUS: Reconnect.RESUME,
    CloseCode.ABNORMAL: Reconnect.RESUME,
    CloseCode.INVALID_TEXT: Reconnect.NEVER,
    CloseCode.MESSAGE_TOO_BIG: Reconnect.NEVER,
    CloseCode.INTERNAL_ERROR: Reconnect.RESUME,
    CloseCode.SERVICE_RESTART: Reconnect.RESUME,
    CloseCode.SLOW_CONSUMER: Reconnect.RESUME,
    CloseCode.PING_TIMEOUT: Reconnect.RESUME,
    CloseCode.TOKEN_EXPIRED: Reconnect.RESUME,
    CloseCode.IDLE: Reconnect.RESUME,
    CloseCode.CHANNEL_REFUSED: Reconnect.RESUME,
    CloseCode.DISCONNECTED: Reconnect.NEVER,
    CloseCode.BANNED: Reconnect.NEVER,
    CloseCode.FLOOD: Reconnect.NEVER,
    CloseCode.DOCUMENT_DELETED: Reconnect.NEVER,
}


@pytest.mark.parametrize("code", CloseCode)
def test_every_code_has_its_rule(code: CloseCode):
    assert reconnect_rule(code) is RULES[code]


@pytest.mark.parametrize(
    ("code", "rule"),
    [(4000, Reconnect.RESUME), (4499, Reconnect.RESUME), (4500, Reconnect.NEVER), (4999, Reconnect.NEVER)],
)
def test_a_client_that_does_not_know_a_code_knows_the_rule_of_its_range(code: int, rule: Reconnect):
    assert reconnect_rule(code) is rule


@pytest.mark.parametrize("code", [code for code in CloseCode if code >= 3000])
def test_codes_of_studyroom_are_in_its_ranges(code: CloseCode):
    assert 4000 <= code < 5000


@given(st.integers())
def test_every_integer_has_a_rule(code: int):
    assert reconnect_rule(code) in Reconnect


@given(st.integers(0, 10**9))
def test_a_reconnect_hint_is_read_back(after_ms: int):
    assert parse_reconnect_hint(reconnect_hint(after_ms)) == after_ms


def test_a_hint_is_found_after_other_words():
    assert parse_reconnect_hint("restarting, reconnect_after_ms=250") == 250


@pytest.mark.parametrize(
    "reason", ["", "bye", "reconnect_after_ms=", "reconnect_after_ms=soon", "reconnect_after_ms=-5"]
)
def test_a_reason_without_a_hint_has_none(reason: str):
    assert parse_reconnect_hint(reason) is None
