"""Characters that are not text, that nobody can see, or that would change the text around them."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.auth.names import presentable
from studyroom.shared.contract.text import VISIBLE, is_blank, is_disruptive, is_unicode, without_disruptive

INVISIBLE = {
    "nothing": "",
    "blanks": " \n\t\u00a0\u3000",
    "zero width space": "\u200b",
    "word joiner": "\u2060",
    "Hangul filler": "\u3164",
    "halfwidth Hangul filler": "\uffa0",
    "braille blank": "\u2800",
    "variation selector": "\ufe0f",
    "variation selector of the supplement": "\U000e0100",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "joiners": "\u200c\u200d",
    "bidi controls": "\u202e\u2066",
    "tags": "\U000e0067\U000e007f",
    "controls": "\x00\x1b\x85",
    "combining grapheme joiner": "\u034f",
    "musical blank": "\U0001d159",
    "reserved, and ignorable": "\U000e0fff",
}
FLAG_OF_WALES = "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
ASTRONAUT = "\U0001f469\U0001f3fd\u200d\U0001f680"


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_invisible_characters_are_blank_alone_and_with_others(text: str):
    assert is_blank(text)
    assert is_blank(text + "".join(INVISIBLE.values()))
    assert not is_blank(text + "." + text)


@pytest.mark.parametrize(
    "text", [".", "\u0301", "\U0001fa77", "\ufffc", "\ue000", "\U0003fffd", FLAG_OF_WALES, "\u2764\ufe0f"]
)
def test_visible_text_is_not_blank(text: str):
    assert not is_blank(text)


def test_every_character_that_python_calls_a_blank_or_a_control_is_blank_or_a_control():
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in {"Cc", "Zs", "Zl", "Zp"}:
            assert is_blank(chr(code)), hex(code)


@given(st.text())
def test_the_documented_pattern_accepts_the_same(text: str):
    assert is_blank(text) == (re.search(VISIBLE, text) is None)


@given(st.text(st.characters(codec=None)))
def test_text_is_unicode_when_it_has_a_form_in_utf_8(text: str):
    try:
        text.encode()
    except UnicodeEncodeError:
        assert not is_unicode(text)
        assert is_disruptive(text)
    else:
        assert is_unicode(text)
    assert is_unicode(without_disruptive(text))


# --- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Ann \U0001fa77",  # younger than Python 3.11
        "Ann \U0003fffd",  # not assigned yet
        f"Rhys {FLAG_OF_WALES}",
        f"Ada {ASTRONAUT}",
        "\u0646\u200c\u0646",
        "\u5c71\u7530\u3000\u592a\u90ce",
        "O\u2019Brien\u00a0Jr",
        "\ue000",
    ],
)
def test_a_name_is_kept_as_it_is(name: str):
    assert presentable(name) == name


@pytest.mark.parametrize(
    "char",
    ["\x00", "\n", "\x7f", "\x85", "\u2028", "\u2029", "\ud800", "\u200e", "\u061c", "\u202e", "\u2066"],
)
def test_in_a_name_there_is_a_space_for(char: str):
    assert presentable(f"Ada{char}Lovelace") == "Ada Lovelace"


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_a_name_of_which_nothing_can_be_seen_is_none(text: str):
    assert presentable(text) == ""


@pytest.mark.parametrize(
    "character", [ASTRONAUT, FLAG_OF_WALES, "e\u0301\u0323", "\U0001f1e9\U0001f1ea", "\u0915\u094d\u0937"]
)
@pytest.mark.parametrize("left", [0, 1, 2, 3, 4, 5, 6])
def test_a_name_that_is_too_long_is_not_cut_within_a_character(character: str, left: int):
    before = "x" * (100 - left)
    assert presentable(before + character) == (before + character if len(character) <= left else before)


def test_a_single_character_that_is_too_long_for_a_name_is_none():
    assert presentable("a" + "\u0301" * 100) == ""


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_name_is_made_presentable_and_stays_so(name: str):
    shown = presentable(name)
    assert len(shown) <= 100
    assert presentable(shown) == shown
    assert not is_disruptive(shown)
    assert shown == "" or not is_blank(shown)
