"""The broadcast events that a user may send."""

import pytest

from studyroom.gateway.auth.events import ALL_EVENTS, EventRights, is_pattern


@pytest.mark.parametrize(
    ("reserved", "granted", "event", "allowed"),
    [
        ((), (), "timer", True),
        (("timer",), (), "timer", False),
        (("timer",), (), "timer.start", True),
        (("timer",), (), "time", True),
        (("timer.*",), (), "timer.start", False),
        (("timer.*",), (), "timer", True),
        (("timer*",), (), "timer", False),
        (("*",), (), "anything", False),
        (("*",), ("*",), "anything", True),
        (("*",), ("hand.*", "timer"), "hand.up", True),
        (("*",), ("hand.*", "timer"), "lesson", False),
        (("timer",), ("lesson",), "timer", False),
        (("timer",), ("lesson",), "other", True),
    ],
)
def test_an_event_is_allowed_if_it_is_not_reserved_or_the_token_names_it(
    reserved: tuple[str, ...], granted: tuple[str, ...], event: str, *, allowed: bool
):
    assert EventRights(reserved, granted).allow(event) is allowed


def test_every_event_is_allowed_unless_it_is_reserved():
    assert ALL_EVENTS.allow("anything")


@pytest.mark.parametrize("text", ["*", "a", "a*", "a.b-c:d_e9", "lesson.*", "x" * 64])
def test_names_beginnings_and_the_star_are_patterns(text: str):
    assert is_pattern(text)


@pytest.mark.parametrize("text", ["", "**", "*a", "a*b", "9a", ".a", "a b", "a\n", "\u00e9", "x" * 65])
def test_text_that_matches_no_event_is_not_a_pattern(text: str):
    assert not is_pattern(text)
