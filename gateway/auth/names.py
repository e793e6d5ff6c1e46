"""Names of people, as others are shown them."""

import re

import regex

from studyroom.shared.contract.messages import USERNAME_MAX_CHARS
from studyroom.shared.contract.text import is_blank, tamed

_BLANKS = re.compile(r"\s{2,}")
_graphemes = regex.compile(r"\X").finditer
"""What people take for one character (Unicode Standard Annex 29)."""


def presentable(name: str) -> str:
    """A name on one line, of bounded length; empty when nothing of it can be seen."""
    line = _BLANKS.sub(" ", tamed(name)).strip()
    shown = _beginning(line).rstrip()
    return "" if is_blank(shown) else shown


def _beginning(line: str) -> str:
    """As much as may be, and no part of a character."""
    if len(line) <= USERNAME_MAX_CHARS:
        return line
    end = 0
    for grapheme in _graphemes(line):
        if grapheme.end() > USERNAME_MAX_CHARS:
            break
        end = grapheme.end()
    return line[:end]
