"""A linter for prose in documents, code and tests: `make prose`. Each rule is a pattern and what to write instead.

The rules are few and our own. General linters know none of them, and Vale's packages fetch their program when they
first run, which a check must not need.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.project.python_prose import Passage, passages
from tests.project.script_prose import script_passages, scripts_of
from tests.support.markdown import ROOT
from website.markdown import lines

LEFT_OUT = {".venv", "node_modules", ".studyroom", "dist", "site", ".pytest_cache"}
SCRIPTS = {".ts", ".tsx", ".js", ".mjs", ".css", ".html"}
LEFT_OUT_OF_CODE = LEFT_OUT | {"static"}
"""Also without `gateway/static`, the page that `web/` is built into."""
CODE = ("gateway", "presence", "shared", "services", "studyroom", "monitoring", "benchmarks", "tests", "web", "docs")
EXAMPLES = ("tests/project/prose.py", "tests/project/test_prose.py")
"""These have the patterns themselves."""


@dataclass(frozen=True)
class Rule:
    pattern: re.Pattern[str]
    advice: str


def _rule(pattern: str, advice: str) -> Rule:
    return Rule(re.compile(pattern), advice)


_START = r"(?:^|[.!?:;] |\| |\*\* |\()"
"""Where a sentence or a clause begins."""

SEMICOLONS = _rule(r";[^.!?|]*;", "one idea a sentence: end it at the first semicolon")
RULES = (
    _rule(r"\b[Ww]h(?:o|at)ever\b", "name the subject: anyone who, clients that, any"),
    _rule(_START + r"[Ww]ho (?!may\b)[^?|]*?[.;|](?:\s|$)", "name the subject: a user who, clients that"),
    _rule(_START + r"What (?!if\b)[^?|]*?[.;](?:\s|$)", "begin with a noun: the messages that, the part that"),
    _rule(
        r"\b[Oo]ne (?:can|cannot|does|gets|has to|knows|may|must|needs|says|sees|stays|wants|writes)\b"
        r"|\boneself\b|\bone's\b",
        "say you, or name the client or the user",
    ),
    _rule(r"\b(?:is|are|was|were|be|been|being) (?:told|said)\b", "name the actor: returns, reports, sends"),
    _rule(r"\b(?:is|are|was|were) to (?:be|have|match)\b", "say must, or name who does it"),
    _rule(r"\b[Aa]new\b", "again"),
    _rule(r"\b[Mm]end(?:s|ed|ing)?\b", "fix, repair"),
    _rule(r"\b[Rr]eckon(?:s|ed|ing)?\b", "count, assume"),
    _rule(r"\b(?:[Hh]eed(?:s|ed|ing)?|[Bb]ur(?:y|ies|ied|ying))\b", "the ordinary word"),
    _rule(r"\bof (?:yours|ours|theirs)\b", "your, our, their"),
    _rule(r"\bbehind (?:it|its|that|what|which|them|`)", "after, unless it is a place"),
    _rule(r"\bput right\b", "correct, repair"),
    _rule(r"\bput(?:s|ting)? (?:(?:them|it|members|connections) )?back\b", "restore"),
    _rule(r"\b[Hh]ear(?:s|d|ing)?\b", "receive, learn"),
    _rule(r"\b[Dd]oubts?\b", "invalidated, unknown"),
    _rule(r"\b(?:[Aa]|[Tt]he) stays?\b", "membership"),
    _rule(r"\bat the most(?=[.,;:)|]|\s\||\s*$)", "at most, before the number"),
    _rule(r"\bwith no sign\b|\bwithout a word\b", "silently, without an error, unannounced"),
    _rule(
        r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b|use\b|one\b|less\b|fewer\b|better\b|worse\b)\w",
        "is not a, does not count as",
    ),
    SEMICOLONS,
)

DOCSTRING_RULES = (_rule(r"^(?:Of|That|By|To be|As|Who|What|Whose)\b(?!.*\?)", "begin with a noun or a verb"),)
"""Only for docstrings and comments."""
CODE_RULES = (
    _rule(r"\b[Tt](?:ells|old|elling)\b|\btell (?!apart)", "send, report, notify, show"),
    _rule(r"\b(?:is|are) ours\b|\bof ours\b|\bour own\b|\bnot ours\b", "name the owner"),
)
"""For all prose in code."""
NAME_RULES = (
    _rule(r"\b[Ss]a(?:y|id)\b", "send, send chat, report"),
    _rule(r"\w wh(?:at|om) \w", "name the noun: the messages that, the part that"),
)
"""For names that code defines, read as sentences."""

_TABLE_RULE = re.compile(r"^\|(?: *:?-+:? *\|)+$")
_CODE, _TARGET = re.compile(r"`[^`]*`"), re.compile(r"\]\([^)]*\)")


@dataclass(frozen=True)
class Problem:
    line: int
    text: str
    advice: str


def problems(text: str) -> Iterator[Problem]:
    """Of one document, in their order within each rule."""
    for number, head in _table_heads(text):
        cells = [cell.strip() for cell in head.strip().strip("|").split("|")]
        if not all(cells) or "then" in cells:
            yield Problem(number, head.strip(), "give every column a head, such as Meaning or Client action")
    yield from _problems_of(text, RULES)


def _problems_of(text: str, rules: Iterable[Rule]) -> Iterator[Problem]:
    for number, paragraph in _paragraphs(text):
        for rule in rules:
            for found in rule.pattern.finditer(paragraph.replace("\n", " ")):
                line = number + paragraph.count("\n", 0, found.start() + len(found[0]) - len(found[0].lstrip()))
                yield Problem(line, " ".join(found[0].split()), rule.advice)


def code_problems(source: str) -> Iterator[Problem]:
    """Find the problems in the docstrings, comments, texts and names of one Python file."""
    yield from _problems_in(passages(source))


def script_problems(source: str) -> Iterator[Problem]:
    """Find the problems in the comments of one script or style sheet."""
    yield from _problems_in(script_passages(source))


def _problems_in(found: Iterable[Passage]) -> Iterator[Problem]:
    for passage in found:
        rules: tuple[Rule, ...] = (*RULES, *CODE_RULES)
        if passage.documents:
            rules += DOCSTRING_RULES
        else:  # Values of HTTP headers have semicolons.
            rules = tuple(rule for rule in rules if rule is not SEMICOLONS)
        if passage.is_name:
            rules += NAME_RULES
        for problem in _problems_of(passage.text, rules):
            yield Problem(passage.line + problem.line - 1, problem.text, problem.advice)


def _table_heads(text: str) -> Iterator[tuple[int, str]]:
    """With their numbers."""
    for number, (head, rule) in enumerate(pairwise(text.splitlines()), 1):
        if _TABLE_RULE.match(rule):
            yield number, head


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """The prose, with the number of its first line. Code and targets of links become words that no rule knows."""
    first, paragraph = 0, list[str]()
    for number, line in enumerate(lines(text + "\n\n"), 1):
        ends = line.info is not None or not line.text.strip()
        begins = re.match(r"\s*(?:[-*] |\d+\. |#|\|)", line.text) is not None
        if paragraph and (ends or begins):
            yield first, _without_code("\n".join(paragraph))
            paragraph = []
        if not ends:
            first = first if paragraph else number
            paragraph.append(re.sub(r"^\s*(?:[-*] |\d+\. |#+ )", "", line.text))


def _without_code(text: str) -> str:
    return _TARGET.sub("]", _CODE.sub(lambda found: "`" + re.sub(r"[^\n]", "x", found[0][1:-1]) + "`", text))


def documents() -> list[Path]:
    return sorted(file for file in ROOT.rglob("*.md") if LEFT_OUT.isdisjoint(file.relative_to(ROOT).parts))


def code() -> list[Path]:
    return sorted(
        file
        for folder in CODE
        for file in (ROOT / folder).rglob("*")
        if file.suffix in {".py", *SCRIPTS} and LEFT_OUT_OF_CODE.isdisjoint(file.relative_to(ROOT).parts)
        if not str(file.relative_to(ROOT)).startswith(EXAMPLES)
    )


def problems_in(file: Path) -> list[Problem]:
    text = file.read_text("utf-8")
    if file.suffix in SCRIPTS:
        return list(script_problems(scripts_of(text) if file.suffix == ".html" else text))
    return list(code_problems(text) if file.suffix == ".py" else problems(text))


def main() -> int:
    files = [Path(name).resolve() for name in sys.argv[1:]] or documents() + code()
    status = 0
    for file in files:
        for problem in problems_in(file):
            print(f"{file.relative_to(ROOT)}:{problem.line}: {problem.text!r}: {problem.advice}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
