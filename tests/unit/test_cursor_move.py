"""The shortcut for cursors means exactly what the long way does: `cursor_move`."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.connections.cursor_move import by_pattern, by_steps, cursor_update, update_prefix
from studyroom.gateway.rooms.notices import encode_cursor
from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.messages import CursorMove, InvalidMessage, decode_client_message

ADA = UserId("0b9d7c4e-9d5a-4b52-8c1e-2f6a3f1f7a01")


def the_long_way(text: str) -> Any:
    """The frame that a client would receive, or None when the message is refused."""
    try:
        message = decode_client_message(text)
    except InvalidMessage:
        return None
    return json.loads(encode_cursor(ADA, message.payload)) if isinstance(message, CursorMove) else None


def shortcut(text: str) -> bytes | None:
    return cursor_update(update_prefix(ADA), text.encode())


def move(payload: str) -> str:
    return f'{{"type":"CursorMove","payload":{payload}}}'


NUMBERS = (
    st.integers() | st.floats() | st.sampled_from(["1e999", "01", "-0", "1.", ".5", "+1", "0x1", "1_0", "٣", '"1"'])
)
ELEMENTS = st.none() | st.text(max_size=300) | st.just("x" * 257) | st.integers()


@given(NUMBERS, NUMBERS, ELEMENTS, st.booleans(), st.booleans())
def test_the_shortcut_takes_nothing_that_is_refused_and_changes_nothing(
    x: Any, y: Any, element: Any, spaced: bool, escaped: bool
):
    spelled = [value if isinstance(value, str) else json.dumps(value) for value in (x, y)]
    quoted = json.dumps(element, ensure_ascii=escaped)
    comma = ", " if spaced else ","
    text = move(f'{{"x":{spelled[0]}{comma}"y":{spelled[1]}{comma}"element_id":{quoted}}}')
    short = shortcut(text)
    if short is not None:
        assert json.loads(short) == the_long_way(text)
    payload = text.encode()
    assert by_steps(b"", payload) == by_pattern(b"", payload)


@pytest.mark.parametrize(
    "text",
    [
        move('{"x":1,"y":2}'),
        move('{"x":-12.5,"y":0.25,"element_id":null}'),
        move('{"x":0,"y":1919.123456789,"element_id":"cell-7 [a] {b} ~"}'),
        move('{"x":0,"y":1,"element_id":""}'),
    ],
)
def test_usual_messages_of_clients_take_the_shortcut(text: str):
    short = shortcut(text)
    assert short is not None
    assert json.loads(short) == the_long_way(text)


@pytest.mark.parametrize(
    "text",
    [
        move('{"x":1}'),
        move('{"y":1,"x":2}'),
        move('{"x":1e400,"y":2}'),
        move('{"x":1,"y":2,"element_id":"\\n"}'),
        move('{"x":1,"y":2,"element_id":"a\\u0022"}'),
        move('{"x":1,"y":2,"element_id":"ü"}'),
        json.dumps({"type": "CursorMove", "payload": {"x": 1.5, "y": 2, "element_id": "a"}}),
        move('{"x":1,"y":2}') + "{}",
        '{"type":"Ping"}',
    ],
)
def test_everything_else_takes_the_long_way(text: str):
    assert shortcut(text) is None
