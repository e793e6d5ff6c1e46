"""Markdown as this package writes it."""

import re
from collections.abc import Iterable, Iterator, Sequence

_FENCE = re.compile(r"^```(\S*)")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its head; cells may have line breaks and pipes."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or "-"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def prose_lines(text: str) -> Iterator[tuple[bool, str]]:
    """Each line, with whether it is prose. Lines of fenced code, and the fences, are not."""
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
            yield False, line
        else:
            yield not inside, line


def with_plain_fences(text: str) -> str:
    """A fence may say more than its language, for the tests that run its code. MkDocs wants the language alone."""
    return "\n".join(
        f"```{found[1]}" if not prose and (found := _FENCE.match(line)) is not None else line
        for prose, line in prose_lines(text)
    )
