"""The rules for shared documents, on copies that break them and on those that nearly do."""

import random
from typing import Any

import pycrdt
import pytest

from studyroom.services.documents.log import DocumentKey
from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.ids import RoomId
from tests.faults.document_rules import Contents, Edit, Opened, copies_differ, incomplete_opens, lost_edits
from tests.faults.editors import change

KEY = DocumentKey(RoomId("room"), DocumentName("notes"))


def doc_with(*edits: str) -> "pycrdt.Doc[Any]":
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    for edit in edits:
        change(doc, edit, random.Random(edit))
    return doc


def contents(doc: "pycrdt.Doc[Any]") -> Contents:
    return Contents.of(doc.get_update())


def edit(number: int, acknowledged: float | None) -> Edit:
    return Edit(KEY, f"ann-{number}", "ann", made=100.0 + number, acknowledged=acknowledged)


def lost(*edits: Edit, stored: Contents, voids: tuple[float, ...] = (), forgot: float | None = None) -> list[str]:
    reloads = {"ann": forgot} if forgot is not None else {}
    return lost_edits(edits, {KEY: stored}, voids, reloads)


def test_the_same_document_is_the_same_however_its_updates_came():
    one, other = doc_with("ann-1", "ann-2"), doc_with("bob-1", "bob-2")
    both = Contents.of(one.get_update(), other.get_update())
    assert copies_differ(KEY, {"a": both, "b": Contents.of(other.get_update(), one.get_update())}, {}, 1.0) == []


def test_a_copy_that_lacks_an_edit_is_a_violation_that_names_document_edit_and_times():
    whole, part = contents(doc_with("ann-1", "ann-2")), contents(doc_with("ann-1"))
    (found,) = copies_differ(KEY, {"the store": whole, "bob": part}, {"ann-2": edit(2, 103.5)}, 110.0)
    for part_of_it in ("notes of room at 110.00 s", "bob lacks 1 edits", "ann-2 of ann", "102.00 s", "103.50 s"):
        assert part_of_it in found
    assert copies_differ(KEY, {"the store": part, "bob": whole}, {}, 110.0)


def test_a_copy_with_all_edits_that_shows_something_else_is_a_violation():
    doc = doc_with("ann-1")
    before = contents(doc)
    doc.get("text", type=pycrdt.Text).insert(0, "x")
    (found,) = copies_differ(KEY, {"the store": contents(doc), "bob": before}, {}, 1.0)
    assert "show something else" in found


def test_a_copy_whose_deletion_is_missing_is_a_violation():
    doc = doc_with()
    doc.get("text", type=pycrdt.Text).insert(0, "xyz")
    before = contents(doc)
    del doc.get("text", type=pycrdt.Text)[0:1]
    assert copies_differ(KEY, {"the store": contents(doc), "bob": before}, {}, 1.0)


def test_an_acknowledged_edit_that_is_not_stored_is_a_violation():
    stored = contents(doc_with("ann-1"))
    assert lost(edit(1, 105.0), edit(2, None), stored=stored) == []
    (found,) = lost(edit(1, 105.0), edit(2, 105.0), stored=stored)
    assert "notes of room does not have ann-2 of ann, made at 102.00 s and acknowledged at 105.00 s" in found


def test_an_author_sends_its_edits_again_after_the_storage_was_lost_unless_it_has_forgotten_them():
    stored, gone = contents(doc_with()), edit(1, 105.0)
    assert lost(gone, stored=stored, voids=(110.0,))
    assert lost(gone, stored=stored, voids=(110.0,), forgot=108.0) == []
    assert lost(gone, stored=stored, voids=(104.0,), forgot=108.0), "it was acknowledged after the loss"
    assert lost(gone, stored=stored, voids=(110.0,), forgot=100.5), "it was made after that"


@pytest.mark.parametrize(
    ("missing", "excused", "wrong"),
    [("", [], 0), ("ann-1", [], 1), ("ann-1", [(90, 109)], 1), ("ann-1", [(90, 111)], 0)],
)
def test_a_newcomer_who_is_synced_has_every_edit_that_was_acknowledged_before(
    missing: str, excused: list[tuple[float, float]], wrong: int
):
    opened = Opened(KEY, "bob", asked=110.0, synced=112.0, missing=frozenset({missing} - {""}))
    assert len(incomplete_opens([opened], {"ann-1": edit(1, 105.0)}, excused)) == wrong
