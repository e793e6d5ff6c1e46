"""The prose in TypeScript, JavaScript, CSS and HTML files: the comments of code and styles."""

import re
from collections.abc import Iterator

from tests.project.python_prose import Passage

_TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`(?:\\.|[^`\\])*`'
    r"|/\*(?P<block>.*?)\*/|(?<!:)(?P<lines>//[^\n]*(?:\n[ \t]*//[^\n]*)*)",
    re.DOTALL,
)
"""Comments, and strings, so that no part of a string counts as a comment. An address after a colon is none either."""
_MARGIN = re.compile(r"^[ \t]*(?:\*+|//+) ?", re.MULTILINE)
_DIRECTIVE = re.compile(r"(?m)^\s*(?:biome-|@ts-|@vitest-|@__|#|<reference).*")
_NOT_A_SCRIPT = re.compile(r"(?:\A|</script>).*?(?:<script[^>]*>|\Z)", re.DOTALL)


def script_passages(source: str) -> Iterator[Passage]:
    """All comments of a script or style sheet, without directives. Those on successive lines are one passage."""
    for token in _TOKEN.finditer(source):
        comment = token["block"] or token["lines"]
        if comment:
            text = _DIRECTIVE.sub("", _MARGIN.sub("", comment))
            yield Passage(source.count("\n", 0, token.start()) + 1, text, documents=True)


def scripts_of(page: str) -> str:
    """Return the scripts of a page in HTML, on the same lines."""
    return _NOT_A_SCRIPT.sub(lambda found: "\n" * found[0].count("\n"), page)
