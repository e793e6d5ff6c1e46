"""One document in memory: updates that wait for others, and updates that are damaged."""

import itertools
import random
from typing import Any

import pycrdt
import pytest

from studyroom.gateway.documents.updates import has_all_of
from studyroom.services.documents.document import Broken, Document, Malformed
from studyroom.shared.contract.documents import EMPTY_UPDATE, EMPTY_VECTOR
from tests.support.documents import Author, text_of


def read(*updates: bytes) -> Document:
    document = Document()
    for update in updates:
        document.apply(update)
    return document


def test_a_document_without_updates_is_empty():
    document = Document()
    assert (document.vector, document.difference(), document.measure()) == (EMPTY_VECTOR, EMPTY_UPDATE, 2)


def test_a_difference_has_the_updates_that_the_state_vector_lacks():
    author = Author()
    first, second = author.write("a"), author.write("b")
    document = read(first, second)
    assert text_of(first, document.difference(read(first).vector)) == "ab"
    assert len(document.difference(document.vector)) == len(EMPTY_UPDATE)


def test_an_update_that_waits_is_handed_on_until_its_predecessor_comes():
    author = Author()
    a, b, c = author.write("a"), author.write("b"), author.write("c")
    copy = read(read(a, c).difference())
    assert text_of(copy.difference()) == "a"
    assert text_of(copy.difference(), b) == "abc"
    copy.apply(b)
    assert text_of(copy.difference()) == "abc"
    assert copy.measure() == read(a, b, c).measure()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_updates_with_several_changes_are_there_in_any_order(order: tuple[int, ...]):
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    marks, lines = doc.get("marks", type=pycrdt.Map), doc.get("lines", type=pycrdt.Array)
    for number in range(4):
        with doc.transaction():
            marks[f"{number}"] = True
            lines.append(number)
    document = read(*(updates[number] for number in order))
    assert not document.waits
    assert document.vector == doc.get_state()
    newcomer: pycrdt.Doc[Any] = pycrdt.Doc()
    newcomer.apply_update(document.difference())
    assert newcomer.get("lines", type=pycrdt.Array).to_py() == [0, 1, 2, 3]


def test_an_update_of_another_author_waits_for_the_text_that_it_follows():
    one, other = Author(), Author()
    a = one.write("a")
    other.receive(a)
    b = other.write("b")
    copy = read(read(b).difference())
    assert text_of(copy.difference()) == ""
    assert text_of(copy.difference(), a) == "ab"


def test_a_deletion_waits_for_the_text_that_it_deletes():
    author = Author()
    a, b, c = author.write("a"), author.write("b"), author.write("c")
    deletion = author.delete(1)
    copy = read(read(a, deletion).difference())
    assert text_of(copy.difference()) == "a"
    assert text_of(copy.difference(), b, c) == "ac"


def test_nothing_is_kept_twice_once_nothing_waits():
    author = Author()
    updates = [author.write(letter) for letter in "abcdef"] + [author.delete(2)]
    for seed in range(20):
        mixed = random.Random(seed).sample(updates, len(updates))
        document = read(*mixed, *mixed[:3])
        assert text_of(document.difference()) == "abdef"
        assert document.measure() == read(*updates).measure()


@pytest.mark.parametrize("update", [b"", b"\x01", b"\xff" * 12, b"no update at all"])
def test_bytes_that_are_not_an_update_change_nothing(update: bytes):
    author = Author()
    document = read(author.write("a"))
    with pytest.raises(Malformed):
        document.apply(update)
    assert text_of(document.difference()) == "a"


def test_bytes_that_are_not_a_state_vector_are_refused():
    with pytest.raises(Malformed):
        Document().difference(b"\x05")


def test_with_any_byte_changed_an_update_is_applied_or_refused_and_the_document_can_be_read():
    author = Author()
    updates = [author.write("aé"), author.format(), author.put("k", {"x": [1, None, True]}), author.delete(0)]
    whole = read(*updates).difference()
    for update in [*updates, whole]:
        for place in range(len(update)):
            for bit in range(8):
                changed = bytearray(update)
                changed[place] ^= 1 << bit
                document = read(whole)
                try:
                    document.apply(bytes(changed))
                except (Malformed, Broken):
                    continue
                pycrdt.Doc().apply_update(document.difference())


def test_a_document_that_rests_is_read_and_edited_as_one_that_is_awake():
    author, late, other = Author(), Author(), Author()
    later = late.write("x")
    other.receive(later)
    updates = [author.write("abc"), author.write("def"), author.delete(1), author.put("k", 1), other.write("y")]
    for seed in range(20):
        mixed = random.Random(seed).sample(updates, len(updates))
        awake, resting, vectors = Document(), Document(), [EMPTY_VECTOR]
        for update in [*mixed, later, author.write(f"{seed}"), *updates]:
            for document in (awake, resting):
                document.apply(update)
                document.settle()
            resting.rest()
            vectors.append(awake.vector)
            for vector in vectors:
                held: pycrdt.Doc[Any] = pycrdt.Doc()
                kept: pycrdt.Doc[Any] = pycrdt.Doc()
                held.apply_update(awake.difference(vector))
                kept.apply_update(resting.difference(vector))
                assert held.get_update() == kept.get_update()
            assert (resting.rests, resting.waits) == (True, awake.waits)
            assert has_all_of(resting.vector, awake.vector)
            assert has_all_of(awake.vector, resting.vector)
            assert resting.measure() == awake.measure()
        assert text_of(resting.difference()) == text_of(awake.difference())


def test_bytes_that_are_not_a_state_vector_are_refused_by_a_document_that_rests():
    document = read(Author().write("a"))
    document.rest()
    for vector in (b"", b"\x05", b"\xff", b"\x7f" * 5):
        with pytest.raises(Malformed):
            document.difference(vector)
