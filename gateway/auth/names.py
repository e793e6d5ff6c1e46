"""User names in the form that other members see."""

import re

import regex

from studyroom.shared.contract.messages import USERNAME_MAX_CHARS
from studyroom.shared.contract.text import is_blank, without_disruptive

_BLANKS = re.compile(r"\s{2,}")
_graphemes = regex.compile(r"\X").finditer
"""Grapheme clusters, which people take for one character (Unicode Standard Annex 29)."""


def presentable(name: str) -> str:
    """The name on one line of at most USERNAME_MAX_CHARS characters; empty if none of them is visible."""
    if len(name) <= USERNAME_MAX_CHARS and name.isascii() and name.isalnum():
        return name  # as most are
    line = _BLANKS.sub(" ", without_disruptive(name)).strip()
    shown = _shortened(line).rstrip()
    return "" if is_blank(shown) else shown


def _shortened(line: str) -> str:
    """The whole grapheme clusters that fit."""
    if len(line) <= USERNAME_MAX_CHARS:
        return line
    end = 0
    for grapheme in _graphemes(line):
        if grapheme.end() > USERNAME_MAX_CHARS:
            break
        end = grapheme.end()
    return line[:end]
