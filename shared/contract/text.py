"""Rules for text that people write: invalid, invisible and disruptive characters.

The rules are lists of code points. They do not use `unicodedata`, which changes with the version of Python. So all
gateways accept the same text, also with characters that Unicode adds later.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

_INVISIBLE = (
    (0x0000, 0x0020), (0x007F, 0x00A0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x205F), (0x3000, 0x3000),  # controls and spaces
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),  # Default_Ignorable_Code_Point of Unicode
    (0x2800, 0x2800), (0xFFF9, 0xFFFB), (0x13430, 0x1343F), (0x16FE4, 0x16FE4), (0x1D159, 0x1D159),  # blank by design
)  # fmt: skip
"""Characters that show nothing if they stand alone."""

_ASTRAL = 0x10000
"""From this code point on, Python and ECMA-262 have different escapes."""


def _class_of(ranges: tuple[tuple[int, int], ...]) -> str:
    """Return the content of a character class, for Python and for JSON Schema (ECMA-262 with the flag `u`)."""
    return "".join(f"{_escaped(first)}-{_escaped(last)}" for first, last in ranges)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < _ASTRAL else chr(code)


VISIBLE = f"[^{_class_of(_INVISIBLE)}]"
"""Matches a visible character."""
_visible = re.compile(VISIBLE).search
_lone_surrogate = re.compile(r"[\ud800-\udfff]").search
ONE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
"""Matches text without controls and line ends."""
_DISRUPTIVE = re.compile(
    r"[\u0000-\u001f\u007f-\u009f"  # controls
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Bidi_Control, which reverses the text that follows
    r"\u2028\u2029\ud800-\udfff]"  # ends of lines and of paragraphs, lone surrogates
)

LONE_SURROGATE = "half of a surrogate pair, which is not a character"


def is_blank(text: str) -> bool:
    """Return whether the text has only spaces, controls, fillers, joiners and other invisible characters."""
    return _visible(text) is None


def is_unicode(text: str) -> bool:
    """Return whether the text has no lone surrogates, which JSON can escape but UTF-8 cannot encode (RFC 8259 8.2)."""
    return _lone_surrogate(text) is None


def is_disruptive(text: str) -> bool:
    """Return whether a character of the text is invalid or changes how the text around it looks."""
    return _DISRUPTIVE.search(text) is not None


def without_disruptive(text: str) -> str:
    """Return the text with spaces in place of disruptive characters, and all others kept."""
    return _DISRUPTIVE.sub(" ", text)


def _unicode(text: str) -> str:
    if not is_unicode(text):
        raise ValueError(LONE_SURROGATE)
    return text


UnicodeText = Annotated[str, AfterValidator(_unicode)]
"""A string without lone surrogates. Use it for text from parsers other than pydantic's, which accepts no others."""
