"""Markdown: what this package writes, and where code stands in what it reads."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})([^`]*)$")
_FENCE_AND_LANGUAGE = re.compile(r"^(\s*(?:`+|~+)\s*\S*).*$")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its head; cells may have line breaks and pipes."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or "-"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


@dataclass(frozen=True)
class Line:
    text: str
    info: str | None
    """What the first line of the block around it has after its mark, such as `sh`. None in prose."""
    fence: bool
    """It begins or ends a block."""


@dataclass(frozen=True)
class Block:
    info: str
    """What its first line has after the mark: the language, and what a test needs to know."""
    text: str


def lines(text: str) -> Iterator[Line]:
    mark = ""
    info: str | None = None
    for line in text.splitlines():
        found = _FENCE.match(line)
        if info is None and found is not None:
            mark, info = found[1], found[2].strip()
            yield Line(line, info, fence=True)
        elif info is not None and found is not None and found[1].startswith(mark) and not found[2].strip():
            yield Line(line, info, fence=True)
            info = None
        else:
            yield Line(line, info, fence=False)


def blocks(text: str) -> list[Block]:
    """The blocks of code of a document, in their order."""
    found: list[tuple[str, list[str]]] = []
    inside = False
    for line in lines(text):
        if line.fence and (inside := not inside):
            found.append((line.info or "", []))
        elif line.info is not None and not line.fence:
            found[-1][1].append(line.text)
    return [Block(info, "\n".join(inner)) for info, inner in found]


def with_plain_fences(text: str) -> str:
    """A fence may say more than its language, for the tests that run its code. MkDocs wants the language alone."""
    return "\n".join(_FENCE_AND_LANGUAGE.sub(r"\1", line.text) if line.fence else line.text for line in lines(text))
