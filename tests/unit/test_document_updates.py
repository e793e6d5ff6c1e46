"""Yjs updates: their check, their merge, and the answers of clients that have nothing new."""

from typing import Any

import pytest
from pycrdt import Doc, Map, Text, get_state

from studyroom.gateway.documents.updates import (
    Whole,
    Wholes,
    adds_nothing,
    check_update,
    check_vector,
    has_all_of,
    merged,
)
from studyroom.shared.contract.documents import EMPTY_UPDATE, EMPTY_VECTOR, SyncHead, SyncReply
from studyroom.shared.contract.lib0 import Malformed


class Author:
    """A document and the updates that its changes make."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("text", type=Text)
        self.updates: list[bytes] = []
        self.subscription = self.doc.observe(lambda event: self.updates.append(event.update))

    def reply_for(self, other: "Author") -> SyncReply:
        difference = self.doc.get_update(other.doc.get_state())
        return SyncReply(head=SyncHead(), vector=self.doc.get_state(), difference=difference)


def text_of(*updates: bytes) -> str:
    doc: Doc[Any] = Doc()
    for update in updates:
        doc.apply_update(update)
    return str(doc.get("text", type=Text))


def test_merged_updates_make_the_same_document():
    author = Author()
    for letter in "hello":
        author.text += letter
    del author.text[1:3]
    assert text_of(merged(author.updates)) == text_of(*author.updates) == "hlo"
    assert merged(author.updates[:1]) is author.updates[0]


def test_a_merge_with_a_missing_update_between_keeps_the_later_one():
    author = Author()
    for letter in "abc":
        author.text += letter
    first, missing, last = author.updates
    together = merged([first, last])
    check_update(together)
    assert text_of(together) == "a"
    assert text_of(together, missing) == "abc"


def test_every_changed_byte_is_taken_or_malformed():
    author = Author()
    author.text += "hello"
    author.doc.get("map", type=Map)["key"] = {"list": [1, 2.5, None, True, "ä"]}
    del author.text[1:3]
    whole = author.doc.get_update()
    taken = 0
    for place in range(len(whole)):
        for value in (0, 0x7F, 0xFF, whole[place] ^ 1, whole[place] ^ 0x80):
            changed = whole[:place] + bytes((value,)) + whole[place + 1 :]
            try:
                check_update(changed)
            except Malformed:
                continue
            taken += 1
            merged([changed, whole])
        if place:
            with pytest.raises(Malformed):
                check_update(whole[:place])
    assert taken


@pytest.mark.parametrize("vector", [b"", b"\x01", b"\x01\x07", b"\x00\x00", b"\xff\xff\xff\xff\x0f"])
def test_a_state_vector_that_is_not_one_is_malformed(vector: bytes):
    with pytest.raises(Malformed):
        check_vector(vector)


def test_the_vector_of_a_document_is_one():
    author = Author()
    author.text += "hello"
    check_vector(author.doc.get_state())
    check_vector(b"\x00")


def test_an_answer_with_old_deletions_only_adds_nothing():
    server, client = Author(), Author()
    server.text += "hello"
    del server.text[1:3]
    client.doc.apply_update(server.doc.get_update())
    server.text += " world"
    reply = server.reply_for(client)
    answer = client.doc.get_update(server.doc.get_state())
    assert answer != EMPTY_UPDATE
    assert adds_nothing(answer, reply)
    assert not adds_nothing(answer, None)


def test_an_answer_with_a_new_deletion_or_a_new_text_adds_something():
    for change in ("delete", "insert"):
        server, client = Author(), Author()
        server.text += "hello"
        client.doc.apply_update(server.doc.get_update())
        if change == "delete":
            del client.text[0:1]
        else:
            client.text += "!"
        answer = client.doc.get_update(server.doc.get_state())
        assert not adds_nothing(answer, server.reply_for(client)), change


def test_an_empty_answer_adds_nothing():
    assert adds_nothing(EMPTY_UPDATE, None)
    assert get_state(EMPTY_UPDATE) == b"\x00"


def test_a_document_has_all_of_an_older_one_and_not_of_another():
    author, other = Author(), Author()
    author.text += "a"
    older = author.doc.get_state()
    author.text += "b"
    other.text += "c"
    assert has_all_of(author.doc.get_state(), older)
    assert has_all_of(older, EMPTY_VECTOR)
    assert not has_all_of(older, author.doc.get_state())
    assert not has_all_of(author.doc.get_state(), other.doc.get_state())
    author.doc.apply_update(other.doc.get_update())
    assert has_all_of(author.doc.get_state(), other.doc.get_state())


def test_long_documents_are_kept_until_others_need_the_space():
    wholes = Wholes(least_bytes=2, max_bytes=10)
    for name, size in (("short", 1), ("a", 4), ("b", 4), ("too long", 11)):
        wholes.put(("room", name), Whole(("", 0), b"", bytes(size)))
    assert wholes.get(("room", "short")) is wholes.get(("room", "too long")) is None
    assert wholes.get(("room", "a")) == Whole(("", 0), b"", bytes(4))
    wholes.put(("room", "c"), Whole(("", 0), b"", bytes(4)))
    assert wholes.get(("room", "b")) is None
    wholes.put(("room", "c"), Whole(("", 0), b"", bytes(6)))
    assert wholes.get(("room", "a")) == Whole(("", 0), b"", bytes(4))
    wholes.drop(("room", "c"))
    wholes.put(("room", "d"), Whole(("", 0), b"", bytes(6)))
    assert wholes.get(("room", "a")) is not None
