"""The contents of the documents: tables, blocks of code, links and names."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from website.markdown import Block, blocks, lines

ROOT = Path(__file__).parents[2]

_HEADING = re.compile(r"^#+ (.+)$")
_COMMENT = re.compile(r"(?:^|\s+)#\s.*$")
_CONTINUES = re.compile(r"\s*\\\n\s*")


@dataclass(frozen=True)
class Document:
    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def _lines(self) -> list[tuple[str, str, str]]:
        """For each line: the heading above it, the language of the code around it ("" for prose), and the line."""
        heading = ""
        found = []
        for line in lines(self.text):
            if line.info is None and (named := _HEADING.match(line.text)) is not None:
                heading = named[1]
            if not line.fence:
                found.append((heading, "" if line.info is None else line.info or "text", line.text))
        return found

    def code(self, language: str) -> list[str]:
        """The lines of all blocks with this first line."""
        return [line for _, of, line in self._lines if of == language]

    @cached_property
    def blocks(self) -> list[Block]:
        return blocks(self.text)

    @cached_property
    def commands(self) -> list[str]:
        """The commands of its blocks for a shell, each in one line and without comments."""
        scripts = "\n".join(block.text for block in self.blocks if block.info == "sh")
        typed = [_COMMENT.sub("", line) for line in _CONTINUES.sub(" ", scripts).splitlines()]
        return [line for line in typed if line]

    @cached_property
    def quoted(self) -> list[str]:
        """The texts in backticks in its prose, each in one line."""
        prose = "\n".join(line for _, of, line in self._lines if not of)
        return [" ".join(one.split()) for one in quoted(prose)]

    def command(self, start: str) -> str:
        """The only command that begins so, in a block or in prose."""
        (found,) = {one for one in (*self.commands, *self.quoted) if one.startswith(start)}
        return found

    @property
    def languages(self) -> set[str]:
        return {language for _, language, _ in self._lines if language}

    def rows(self, section: str) -> list[list[str]]:
        """The cells of all tables under this heading, without their heads."""
        tables = [line if not of and line.startswith("|") else "" for head, of, line in self._lines if head == section]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in tables]
        rules = [index for index, row in enumerate(rows) if set("".join(row)) == {"-"}]
        return [row for index, row in enumerate(rows) if any(row) and index not in rules and index + 1 not in rules]

    @property
    def anchors(self) -> set[str]:
        """The anchors that GitHub makes of headings."""
        headings = {head for head, _, _ in self._lines if head}
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}

    @property
    def links(self) -> set[str]:
        """Those within the repository."""
        prose = "\n".join(line for _, of, line in self._lines if not of)
        found = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'<img src="([^"]+)"', prose)
        return {link for link in found if not link.startswith(("http:", "https:"))}


def quoted(cell: str) -> list[str]:
    """The texts in backticks."""
    return re.findall(r"`([^`]+)`", cell)
