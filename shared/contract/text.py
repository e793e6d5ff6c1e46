"""Text that people write: what is no text at all, what nobody can see, and what would change the text around it.

Everything here is a list of code points and not a question to `unicodedata`, whose answers change with Python: what one
gateway takes another one takes, and a character that is new tomorrow is a character today.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

_UNSEEN = (
    (0x0000, 0x0020), (0x007F, 0x00A0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x205F), (0x3000, 0x3000),  # controls and spaces
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),  # Default_Ignorable_Code_Point of Unicode
    (0x2800, 0x2800), (0xFFF9, 0xFFFB), (0x13430, 0x1343F), (0x16FE4, 0x16FE4), (0x1D159, 0x1D159),  # blank by design
)  # fmt: skip
"""What leaves nothing to see, where it stands alone."""

_ASTRAL = 0x10000
"""From here on the two write code points differently."""


def _class_of(ranges: tuple[tuple[int, int], ...]) -> str:
    """For Python, and for JSON Schema (ECMA-262 in its mode `u`)."""
    return "".join(f"{_escaped(first)}-{_escaped(last)}" for first, last in ranges)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < _ASTRAL else chr(code)


SEEN = f"[^{_class_of(_UNSEEN)}]"
"""The pattern of text of which something can be seen."""
_seen = re.compile(SEEN).search
_half = re.compile(r"[\ud800-\udfff]").search
ONE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
"""The pattern of text without controls and line ends."""
_MEDDLESOME = re.compile(
    r"[\u0000-\u001f\u007f-\u009f"  # controls
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Bidi_Control: they turn what comes behind them round
    r"\u2028\u2029\ud800-\udfff]"  # ends of lines and of paragraphs, halves of characters
)

NO_CHARACTER = "half of a surrogate pair, which is no character"


def is_blank(text: str) -> bool:
    """There is nothing to see: only spaces, controls, fillers, joiners and the like."""
    return _seen(text) is None


def is_unicode(text: str) -> bool:
    """JSON may name one half of a surrogate pair without the other. That is no character and has no UTF-8."""
    return _half(text) is None


def meddles(text: str) -> bool:
    """It holds what changes the text around it, or is none."""
    return _MEDDLESOME.search(text) is not None


def tamed(text: str) -> str:
    """With spaces where something meddles. All else is kept, also what Unicode does not know yet."""
    return _MEDDLESOME.sub(" ", text)


def _unicode(text: str) -> str:
    if not is_unicode(text):
        raise ValueError(NO_CHARACTER)
    return text


UnicodeText = Annotated[str, AfterValidator(_unicode)]
"""For what does not come through pydantic's own reader of JSON, which takes nothing else."""
