"""Header fields of RFC 9110: combines the lines of one name, and splits values that are lists. Pure."""

from collections.abc import Iterable, Mapping

_BLANKS = " \t"
"""Optional white space (section 5.6.3). The parser leaves some after values, which do not include it (5.5)."""


def combined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name in lower case. Values of repeated headers are joined (RFC 9110 section 5.2; cookies: RFC 6265).

    So a second `Authorization`, `Origin` or `Host` cannot hide the first, because both together are not valid.
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
    """The elements of a list of tokens, in order and without empty ones (section 5.6.1).

    It does not support quoted strings: a comma in quotes would split an element.
    """
    value = headers.get(name)
    if value is None:
        return []
    return [element for part in value.split(",") if (element := part.strip(_BLANKS))]
