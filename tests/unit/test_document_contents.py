"""The contents of a document as JSON and text, and the edit that restores an earlier state."""

import json
from typing import Any

import pycrdt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studyroom.services.documents.contents import TooComplex, as_json, as_text, values
from studyroom.services.documents.restoring import restoring


def element(tag: str, attributes: dict[str, Any], *children: Any) -> pycrdt.XmlElement:
    values: Any = attributes  # its hints know strings only
    return pycrdt.XmlElement(tag, values, list(children))


def everything() -> "pycrdt.Doc[Any]":
    """A document with root types of each kind."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc["text"] = pycrdt.Text("plain")
    doc["formatted"] = text = pycrdt.Text("a bold word")
    text.format(2, 6, {"bold": True})
    text.insert_embed(0, {"image": "x.png"})
    doc["map"] = pycrdt.Map({"number": 1.0, "half": 0.5, "list": [1.0, None], "inner": pycrdt.Text("in the map")})
    doc["array"] = pycrdt.Array([1.0, "s", True, None, pycrdt.Map({"k": 2.0}), b"\x00\xff"])
    page: list[Any] = [
        element("heading", {"level": 2}, "Title"),
        element("list", {}, element("item", {}, "one"), element("item", {}, "two")),
    ]
    doc["page"] = pycrdt.XmlFragment(page)
    doc["unused"] = pycrdt.Text()
    return doc


def test_each_kind_of_root_type_has_its_json():
    assert json.loads(as_json(everything().get_update())) == {
        "text": "plain",
        "formatted": [
            {"insert": {"image": "x.png"}},
            {"insert": "a "},
            {"insert": "bold", "attributes": {"bold": True}},
            {"insert": " word"},
        ],
        "map": {"number": 1, "half": 0.5, "list": [1, None], "inner": "in the map"},
        "array": [1, "s", True, None, {"k": 2}, {"base64": "AP8="}],
        "page": [
            {"element": "heading", "attributes": {"level": 2}, "children": ["Title"]},
            {
                "element": "list",
                "attributes": {},
                "children": [
                    {"element": "item", "attributes": {}, "children": ["one"]},
                    {"element": "item", "attributes": {}, "children": ["two"]},
                ],
            },
        ],
    }


def test_text_has_the_lines_of_all_root_types_in_the_order_of_their_names():
    text = as_text(everything().get_update()).decode()
    assert text == "s\n\na bold word\n\nin the map\n\nTitle\none\ntwo\n\nplain"


def test_a_document_that_is_nested_too_deeply_is_refused():
    value: Any = 1.0
    for _ in range(300):
        value = [value]
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc["map"] = pycrdt.Map({"deep": value})
    for convert in (as_json, as_text):
        with pytest.raises(TooComplex):
            convert(doc.get_update())


# --- restoring ---------------------------------------------------------------------------------------------

_Change = tuple[str, int, str]
_CHANGES = st.lists(
    st.tuples(
        st.sampled_from(
            ["write", "erase", "format", "put", "drop", "push", "take", "element", "remove", "attribute", "words"]
        ),
        st.integers(0, 30),
        st.text("abc", min_size=1, max_size=4),
    ),
    max_size=25,
)


class Person:
    """Changes a document with root types of each kind."""

    def __init__(self) -> None:
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc()
        self.text = self.doc.get("text", type=pycrdt.Text)
        self.map = self.doc.get("map", type=pycrdt.Map)
        self.array = self.doc.get("array", type=pycrdt.Array)
        self.page = self.doc.get("page", type=pycrdt.XmlFragment)

    def change(self, change: _Change) -> None:
        kind, number, word = change
        nodes = len(self.page.children)
        match kind:
            case "write":
                self.text.insert(number % (len(self.text) + 1), word)
            case "erase" if len(self.text):
                at = number % len(self.text)
                del self.text[at : min(at + 2, len(self.text))]
            case "format" if len(self.text) > 1:
                self.text.format(number % (len(self.text) - 1), len(self.text), {"bold": bool(number % 2)})
            case "put":
                self.map[word] = pycrdt.Text(word) if number % 3 == 0 else float(number)
            case "drop" if len(self.map):
                del self.map[sorted(self.map.keys())[number % len(self.map)]]
            case "push":
                self.array.insert(number % (len(self.array) + 1), pycrdt.Map({word: 1.0}) if number % 3 == 0 else word)
            case "take" if len(self.array):
                del self.array[number % len(self.array)]
            case "element":
                self.page.children.insert(number % (nodes + 1), element(word, {"level": number}, word))
            case "remove" if nodes:
                del self.page.children[number % nodes]
            case "attribute" if nodes:
                self.page.children[number % nodes].attributes[word] = float(number)
            case "words" if nodes:
                self.page.children[number % nodes].children[0].insert(0, word)

    def state(self) -> bytes:
        update: bytes = self.doc.get_update()
        return update


def after(*updates: bytes) -> dict[str, Any]:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    for update in updates:
        doc.apply_update(update)
    return values(doc.get_update())


@settings(max_examples=150, deadline=None)
@given(before=_CHANGES, since=_CHANGES, later=_CHANGES)
def test_a_restored_document_has_exactly_the_contents_that_it_had(
    before: list[_Change], since: list[_Change], later: list[_Change]
):
    person = Person()
    for change in before:
        person.change(change)
    earlier = person.state()
    other = Person()
    other.doc.apply_update(earlier)
    for number, change in enumerate(since):
        (person, other)[number % 2].change(change)
    person.doc.apply_update(other.state())
    update = restoring(person.state(), earlier)
    assert after(person.state(), update) == after(earlier)
    # It is an edit like others: it merges, and what was restored can be changed and restored again.
    person.doc.apply_update(update)
    middle = person.state()
    for change in later:
        person.change(change)
    assert after(person.state(), restoring(person.state(), middle)) == after(earlier)
    assert after(person.state(), restoring(person.state(), earlier)) == after(earlier)


def test_an_edit_that_somebody_makes_while_a_version_is_restored_is_kept():
    person = Person()
    person.change(("write", 0, "abc"))
    earlier = person.state()
    person.change(("erase", 0, "a"))
    update = restoring(person.state(), earlier)
    person.change(("put", 1, "key"))
    assert after(person.state(), update) == {"text": "abc", "map": {"key": 1}}


def test_an_empty_document_is_restored_too():
    person = Person()
    earlier = person.state()
    person.change(("write", 0, "abc"))
    assert after(person.state(), restoring(person.state(), earlier)) == {}
    assert restoring(earlier, earlier) == b"\x00\x00"
