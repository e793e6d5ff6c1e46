"""Updates that no editor writes: pycrdt takes many of them, and Yjs throws at most."""

from typing import Any

import pycrdt
import pytest

from studyroom.shared.contract import lib0
from studyroom.shared.contract.lib0 import Malformed
from studyroom.shared.contract.yjs_updates import check_readable

CLIENT = 7
GC, SKIP, STRING, TYPE, ANY, FORMAT, JSON = 0, 10, 4, 7, 8, 6, 2
AFTER = 0x80


def update(*structs: bytes, deletions: bytes = b"\x00", clock: int = 0) -> bytes:
    """An update with structs of one client."""
    return (
        b"\x01" + lib0.number(len(structs)) + lib0.number(CLIENT) + lib0.number(clock) + b"".join(structs) + deletions
    )


def item(kind: int, contents: bytes, *, after: tuple[int, int] | None = None) -> bytes:
    """An item at the beginning of the text, or after another one, whose client and clock are given."""
    if after is None:
        return bytes((kind, 1)) + lib0.text("text") + contents
    return bytes((kind | AFTER,)) + lib0.number(after[0]) + lib0.number(after[1]) + contents


A = item(STRING, lib0.text("a"))


def test_everything_that_an_editor_writes_is_readable():
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text, map_ = doc.get("text", type=pycrdt.Text), doc.get("map", type=pycrdt.Map)
    text += "aé😀\n"
    text.format(0, 1, {"bold": True, "link": {"href": "x"}})
    text.insert_embed(0, {"image": "x"})
    map_["k"] = {"list": [1, -1, 2.5, 2**40, None, True, False, "ä", b"bytes", {}], "map": pycrdt.Map({"a": 1})}
    map_["doc"] = pycrdt.Doc()
    xml = doc.get("xml", type=pycrdt.XmlFragment)
    xml.children.append(pycrdt.XmlElement("p", {"class": "x"}, [pycrdt.XmlText("t")]))
    del text[0:2]
    doc.unobserve(subscription)
    for one in (*updates, doc.get_update(), pycrdt.merge_updates(updates[0], updates[-1])):
        check_readable(one)


def test_an_update_that_waits_for_changes_of_others_is_readable():
    check_readable(update(item(STRING, lib0.text("b"), after=(8, 1000))))
    check_readable(update(bytes((SKIP,)) + lib0.number(5), A))
    check_readable(update(bytes((GC,)) + lib0.number(5), item(STRING, lib0.text("a"), after=(CLIENT, 4))))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x01",
        update(A)[:-1],
        update(item(11, lib0.text("a"))),
        update(item(STRING | 0x10, lib0.text("a"))),
        update(item(STRING, lib0.text(""))),
        update(item(STRING, b"\x01\xff")),
        update(item(STRING, b"\x03\xed\xa0\x80")),
        update(item(TYPE, b"\x07")),
        update(item(ANY, b"\x01\x05")),
        update(item(ANY, b"\x00")),
        update(item(JSON, b"\x01" + lib0.text("{"))),
        update(item(FORMAT, lib0.text("bold") + lib0.text("NaN"))),
        update(bytes((GC, 0))),
        update(bytes((GC,)) + lib0.number(2**33)),
        update(A, item(STRING, lib0.text("b"), after=(CLIENT, 1))),
        update(item(STRING, lib0.text("a"), after=(CLIENT, 16))),
        update(A, clock=2**32),
        update(A, deletions=b"\x01\x07\x01\x00\x00"),
        update(A, deletions=b"\x01\x07\x02\x00\x01"),
        update(item(ANY, b"\x01" + bytes((117, 1)) * 100 + b"\x7e")),
    ],
    ids=[
        *("nothing", "no structs", "cut off", "unknown contents", "more bits of its kind", "no text", "no UTF-8"),
        *("half a pair", "an unknown type", "an unknown value", "no values", "no JSON", "not a number", "no length"),
        *("too much length", "after itself", "after a later change", "too high a clock", "an empty deletion"),
        *("a missing deletion", "too deep"),
    ],
)  # fmt: skip
def test_an_update_that_no_editor_writes_is_malformed(damaged: bytes):
    check_readable(update(A))
    with pytest.raises(Malformed):
        check_readable(damaged)
