"""The requests for documents and their answers, as bytes."""

import pytest

from studyroom.shared.contract import document_subjects
from studyroom.shared.contract.document_names import DocumentName, document_name
from studyroom.shared.contract.documents import (
    DocumentStatus,
    MalformedSync,
    Outcome,
    SyncHead,
    SyncParts,
    SyncReply,
    SyncRequest,
)
from studyroom.shared.contract.ids import RoomId

ROOM = RoomId("b24c15a6-3a52-4a5a-9f0f-0d5f0c6c1a11")
NOTES = DocumentName("notes")


def test_a_request_keeps_the_line_ends_of_its_state_vector() -> None:
    request = SyncRequest(room=ROOM, name=NOTES, epoch="2026", position=7)
    assert SyncRequest.decode(request.encode(b"\n\x00\n")) == (request, b"\n\x00\n")


@pytest.mark.parametrize("data", [b"", b"{}", b"{}\n", b'{"room":"x","name":"notes"}\n', b"\xff\n\n"])
def test_other_bytes_are_refused_as_a_request(data: bytes) -> None:
    with pytest.raises(MalformedSync):
        SyncRequest.decode(data)


@pytest.mark.parametrize("size", [0, 1, 900, 10_000])
def test_an_answer_is_whole_again_in_any_order_of_its_messages(size: int) -> None:
    reply = SyncReply(head=SyncHead(epoch="2026", sequence=9), vector=b"\n\x01", difference=b"\n" * size or b"\0\0")
    messages = list(reply.messages(1024))
    assert all(len(message) <= 1024 for message in messages)
    parts = SyncParts()
    *unfinished, whole = [parts.add(message) for message in reversed(messages)]
    assert not any(unfinished)
    assert whole is not None
    assert (whole.vector, whole.difference) == (reply.vector, reply.difference)
    assert (whole.head.outcome, whole.head.epoch, whole.head.sequence) == (Outcome.OK, "2026", 9)


def test_an_answer_that_is_shorter_than_its_state_vector_is_refused() -> None:
    with pytest.raises(MalformedSync):
        SyncParts().add(SyncHead(vector_bytes=3).joined(b"ab"))


@pytest.mark.parametrize(("size", "most", "full"), [(9, 10, False), (10, 10, True), (10, 0, False)])
def test_a_document_is_full_at_its_limit(size: int, most: int, full: bool) -> None:
    assert SyncHead(size_bytes=size, max_bytes=most).is_full is full


def test_a_status_is_read_as_it_was_written() -> None:
    status = DocumentStatus(size_bytes=11, max_bytes=10)
    assert DocumentStatus.decode(status.encode()) == status
    assert status.is_full


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a*", ">", "ü", "a" * 65, "a\n"])
def test_a_name_that_cannot_be_a_token_of_a_subject_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a document"):
        document_name(name)


def test_a_subject_names_its_document() -> None:
    assert document_name("A-z_0") == "A-z_0"
    assert document_subjects.parse_document(document_subjects.document(ROOM, NOTES)) == (ROOM, NOTES)
    with pytest.raises(ValueError, match="not the log of a document"):
        document_subjects.parse_document(document_subjects.document_snapshot(ROOM, NOTES))


def test_the_kind_of_an_event_is_the_end_of_its_subject() -> None:
    kinds = [document_subjects.document_update, document_subjects.document_awareness, document_subjects.document_status]
    found = [document_subjects.document_event_kind(kind(ROOM, NOTES)) for kind in kinds]
    assert found == ["update", "awareness", "status"]
