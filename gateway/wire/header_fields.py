"""Header fields as RFC 9110 has them: lines of one name are one value, and some values are lists. Pure."""

from collections.abc import Iterable, Mapping

_BLANKS = " \t"
"""OWS, section 5.6.3. The parser leaves it behind some values, and it is never part of one (section 5.5)."""


def combined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By name in lower case; of repeated headers all values in one, as RFC 9110 section 5.2 has it (cookies: RFC 6265).

    So a second `Authorization`, `Origin` or `Host` does not hide the first: together they are no valid value.
    """
    result: dict[str, str] = {}
    for name, value in headers:
        key, stripped = name.lower(), value.strip(_BLANKS)
        if key in result:
            result[key] += ("; " if key == "cookie" else ", ") + stripped
        else:
            result[key] = stripped
    return result


def elements(headers: Mapping[str, str], name: str) -> list[str]:
    """The elements of a list, in order (section 5.6.1): however many lines and blanks, and without empty ones.

    Of lists of tokens, as all are that are read here: a comma within quotes would part an element too.
    """
    return [element for part in headers.get(name, "").split(",") if (element := part.strip(_BLANKS))]
