"""The prose in Python files: docstrings, comments, texts such as descriptions, logs and errors, and defined names."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

_TEXT_LEAST_WORDS = 4
"""Strings with fewer words are names, keys and fragments."""
_DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|pragma|ruff:|!|---)")


@dataclass(frozen=True)
class Passage:
    line: int
    """The number of its first line."""
    text: str
    documents: bool
    """A docstring, a comment or a name of a test, not a string or another name that the program uses."""
    is_name: bool = False
    """A defined name, as a sentence."""


def passages(source: str) -> Iterator[Passage]:
    """All prose of a Python file. Raises SyntaxError."""
    yield from _comments(source)
    tree = ast.parse(source)
    docstrings = set[int]()
    for docstring in _standing_alone(tree):
        docstrings.add(id(docstring))
        yield Passage(docstring.lineno, _dedented(str(docstring.value)), documents=True)
    for node in _outermost_strings(tree):
        text = _text_of(node)
        if id(node) not in docstrings and len(re.findall(r"[A-Za-z]{2,}", text)) >= _TEXT_LEAST_WORDS:
            yield Passage(node.lineno, text, documents=False)
    for line, name in _defined_names(tree):
        yield Passage(line, _sentence(name), documents=name.startswith("test_"), is_name=True)


def _defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case _:
                pass


def _sentence(name: str) -> str:
    """Name `test_nobody_waits` becomes "Nobody waits."."""
    return name.strip("_").removeprefix("test_").replace("_", " ").capitalize() + "."


def _standing_alone(tree: ast.AST) -> Iterator[ast.Constant]:
    """Docstrings, also those of attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def _outermost_strings(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr) or (isinstance(child, ast.Constant) and isinstance(child.value, str)):
            yield child
        else:
            yield from _outermost_strings(child)


def _text_of(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "`x`" for part in node.values)


def _dedented(text: str) -> str:
    first, *others = text.split("\n")
    return "\n".join([first, *(line.strip() for line in others)])


def _comments(source: str) -> Iterator[Passage]:
    """Comments on lines that follow each other are one passage."""
    first, text = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or _DIRECTIVE.match(token.string):
            continue
        if text and token.start[0] != first + len(text):
            yield Passage(first, "\n".join(text), documents=True)
            text = []
        first = first if text else token.start[0]
        text.append(token.string.lstrip("# "))
    if text:
        yield Passage(first, "\n".join(text), documents=True)
