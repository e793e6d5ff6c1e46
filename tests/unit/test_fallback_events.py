"""WebSocket frames as server-sent events: `gateway.fallback.events`."""

import pytest

from studyroom.gateway.fallback.events import events_of
from studyroom.gateway.wire.framing import PING_FRAME, text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1023, 1024, 65_535, 65_536])
def test_each_text_frame_becomes_one_message_event(size: int):
    frames = text_frame(b"first") + text_frame(b"x" * size) + text_frame(b"last")
    assert events_of(frames) == b"data: first\n\ndata: %b\n\ndata: last\n\n" % (b"x" * size)


def test_a_ping_becomes_an_event_of_its_own():
    assert events_of(PING_FRAME + text_frame(b"{}")) == b"event: ping\ndata:\n\ndata: {}\n\n"


def test_line_breaks_between_the_tokens_of_a_message_do_not_end_its_event():
    assert events_of(text_frame(b'{\r\n"a":1}')) == b'data: {  "a":1}\n\n'


def test_without_frames_there_is_nothing_to_send():
    assert events_of(b"") == b""
