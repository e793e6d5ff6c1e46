"""The contents of a Yjs document as JSON and as plain text (docs/documents.md). Pure.

An update does not name the kinds of root types. They follow from their contents: a type with keys is a map, one with
XML nodes is an XML fragment, one with characters is a text, and any other one is an array.
"""

import json
import math
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pycrdt

_DEPTH_MAX = 100
Json = Any
Root = pycrdt.Map[Any] | pycrdt.Array[Any] | pycrdt.Text | pycrdt.XmlFragment


class TooComplex(Exception):
    """The document is nested too deeply."""


def as_json(state: bytes) -> bytes:
    """Return an object with the contents of each root type under its name. Raises TooComplex."""
    return json.dumps(values(state), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def as_text(state: bytes) -> bytes:
    """Return the text of all root types in the order of their names, with an empty line between them.

    Raises TooComplex.
    """
    found = ("\n".join(_lines(root, 0)) for _, root in _roots(state))
    return "\n\n".join(text for text in found if text).encode("utf-8", "replace")


def values(state: bytes) -> dict[str, Json]:
    """Return the contents of each root type by its name. Raises TooComplex."""
    return {name: _value(root, 0) for name, root in _roots(state)}


def _roots(state: bytes) -> Iterator[tuple[str, Root]]:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(state)
    for name in sorted(doc.keys()):
        if (root := _root(doc, name)) is not None:
            yield name, root


def _root(doc: "pycrdt.Doc[Any]", name: str) -> Root | None:
    """None for a type that has no contents any more, whose kind nobody can see."""
    of_keys: pycrdt.Map[Any] = doc.get(name, type=pycrdt.Map)
    if len(of_keys):
        return of_keys
    fragment: pycrdt.XmlFragment = doc.get(name, type=pycrdt.XmlFragment)
    items: pycrdt.Array[Any] = doc.get(name, type=pycrdt.Array)
    nodes = list(fragment.children)
    if nodes and len(nodes) == len(items):
        return fragment
    text: pycrdt.Text = doc.get(name, type=pycrdt.Text)
    # For an array, this has its shared types only.
    if any(not isinstance(chunk, pycrdt.Map | pycrdt.Array | pycrdt.Text) for chunk, _ in text.diff()):
        return text
    return items if len(items) else None


def _value(value: Any, depth: int) -> Json:
    _check(depth)
    match value:
        case pycrdt.Text() | pycrdt.XmlText():
            found = _delta(value.diff(), depth)
        case pycrdt.XmlFragment():
            found = [_value(child, depth + 1) for child in value.children]
        case pycrdt.XmlElement():
            found = {
                "element": value.tag,
                "attributes": _value(_attributes(value), depth),
                "children": [_value(child, depth + 1) for child in value.children],
            }
        case pycrdt.Map() | dict():
            found = {str(key): _value(value[key], depth + 1) for key in sorted(value.keys())}
        case pycrdt.Array() | list() | tuple():
            found = [_value(one, depth + 1) for one in value]
        case _:
            found = _plain(value)
    return found


def _attributes(element: Any) -> dict[str, Any]:
    return dict(element.attributes)


def _plain(value: Any) -> Json:
    match value:
        case bytes() | bytearray():
            return {"base64": b64encode(value).decode()}
        case float():
            return int(value) if value.is_integer() else value if math.isfinite(value) else None
        case str() | bool() | int():
            return value
        case _:  # also a document within the document, whose contents are elsewhere
            return None


def _delta(chunks: Sequence[tuple[Any, dict[str, Any] | None]], depth: int) -> Json:
    """A string if the text has no formats and nothing embedded, and otherwise the operations of `toDelta` of Yjs."""
    if all(isinstance(chunk, str) and not attributes for chunk, attributes in chunks):
        return "".join(chunk for chunk, _ in chunks)
    return [
        {"insert": _value(chunk, depth + 1), **({"attributes": _value(attributes, depth + 1)} if attributes else {})}
        for chunk, attributes in chunks
    ]


def _lines(value: Any, depth: int) -> Iterator[str]:
    """The lines of text in a value. Texts beside each other are one line, and each element begins another one."""
    _check(depth)
    match value:
        case str():
            yield value
        case pycrdt.Text() | pycrdt.XmlText():
            yield _characters(value)
        case pycrdt.XmlFragment() | pycrdt.XmlElement():
            for is_text, children in groupby(value.children, lambda child: isinstance(child, pycrdt.XmlText)):
                if is_text:
                    yield "".join(map(_characters, children))
                else:
                    yield from _lines(list(children), depth)
        case pycrdt.Map() | dict():
            yield from _lines([value[key] for key in sorted(value.keys())], depth)
        case pycrdt.Array() | list():
            for one in value:
                yield from _lines(one, depth + 1)


def _characters(text: Any) -> str:
    return "".join(chunk for chunk, _ in text.diff() if isinstance(chunk, str))


def _check(depth: int) -> None:
    """Raises TooComplex."""
    if depth > _DEPTH_MAX:
        raise TooComplex(f"the document is nested more than {_DEPTH_MAX} levels deep")
