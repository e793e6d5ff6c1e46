"""Shared documents: the names, the requests of gateways to the documents service, and its answers.

A document is a Yjs document of a room. Its log is a subject of a stream (`document_subjects.document`), with one Yjs
update (version 1) in each message. An update is stored when the stream has acknowledged it. JetStream then republishes
it on `document_subjects.document_update`, with the headers of `headers`: its sequence and the sequence before it on the
subject. The log always keeps its newest update, so a gap shows: an update that does not follow the position of a
gateway. An edit that is too long for a message has an empty update in the log (`long_edits`).

Requests and answers are a line of JSON and binary parts after it, whose lengths the line names.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from studyroom.shared.contract.document_names import DocumentNameField
from studyroom.shared.contract.ids import RoomIdField
from studyroom.shared.contract.parts import JsonMessage

EMPTY_VECTOR = b"\x00"
"""The state vector of an empty document. The difference for it is the whole document."""
EMPTY_UPDATE = b"\x00\x00"
"""An update (version 1) that changes nothing."""


class MalformedSync(ValueError):
    """A request or an answer cannot be decoded."""


class Outcome(StrEnum):
    OK = "ok"
    UNAVAILABLE = "unavailable"
    """The replica cannot read the log now. Ask again."""
    INVALID = "invalid"
    """This replica does not understand the request. Asking again does not help."""


class Head(BaseModel):
    """The line before the binary parts."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def joined(self, *parts: bytes) -> bytes:
        return b"\n".join((self.__pydantic_serializer__.to_json(self), b"".join(parts)))

    @classmethod
    def split(cls, data: bytes) -> tuple[Self, bytes]:
        """Raises MalformedSync."""
        line, separator, parts = data.partition(b"\n")
        if not separator:
            raise MalformedSync("no line of JSON")
        try:
            return cls.model_validate_json(line), parts
        except ValueError as error:  # pydantic's ValidationError is one
            raise MalformedSync(str(error)) from error


class AnswerLine(Head):
    """The line of an answer, and of each message that an answer is split into."""

    part: int = 0
    """The number of this message."""
    parts: int = 1
    """The number of messages of the answer."""

    def messages(self, body: bytes, max_bytes: int) -> Iterator[bytes]:
        """Encode an answer in messages of at most `max_bytes`, but for the line of JSON (at most 512 bytes)."""
        step = max(1, max_bytes - _LINE_MAX_BYTES)
        pieces = [body[start : start + step] for start in range(0, len(body), step)] or [b""]
        for part, piece in enumerate(pieces):
            yield self.model_copy(update={"part": part, "parts": len(pieces)}).joined(piece)


_LINE_MAX_BYTES = 512
Line = TypeVar("Line", bound=AnswerLine)


class Pieces(Generic[Line]):
    """Puts the messages of one answer together, in any order."""

    def __init__(self, line: type[Line]) -> None:
        self._line = line
        self._pieces: dict[int, bytes] = {}

    def add(self, message: bytes) -> tuple[Line, bytes] | None:
        """Return the line and the whole body if this message completes the answer. Raises MalformedSync."""
        head, piece = self._line.split(message)
        self._pieces[head.part] = piece
        if len(self._pieces) < head.parts:
            return None
        return head, b"".join(self._pieces[part] for part in sorted(self._pieces))


class SyncRequest(Head):
    """Asks for the part of a document that the asker does not have, up to the newest stored update."""

    room: RoomIdField
    name: DocumentNameField
    epoch: str = ""
    """The epoch of `position`; empty if the asker has none."""
    position: int = Field(0, ge=0)
    """The sequence up to which the asker has received the document's updates in that epoch. If the stream does not
    reach it any more, the stream has lost its newest updates, and the answer has another epoch."""
    knows_deletions: bool = False
    """Whether the asker understands `SyncHead.deleted_bytes`."""

    def encode(self, vector: bytes = EMPTY_VECTOR) -> bytes:
        """`vector`: the state vector of the asker."""
        return self.joined(vector)

    @classmethod
    def decode(cls, data: bytes) -> tuple[Self, bytes]:
        """Return the request and the state vector. Raises MalformedSync."""
        return cls.split(data)


class SyncHead(AnswerLine):
    outcome: Outcome = Outcome.OK
    epoch: str = ""
    """The epoch of the stream. In another epoch, the same sequence may mean another update (decision 0017)."""
    sequence: int = 0
    """The sequence of the newest update that the answer has, 0 for an empty document. Every update with a higher
    sequence is missing in it, and every other one is in it. It is lower than the position of the asker in the same
    epoch only if an operator has removed the log."""
    size_bytes: int = 0
    """The length of the whole document as one update."""
    max_bytes: int = 0
    """The length from which on the document accepts no more edits."""
    storage_full: bool = False
    """Whether the stream is nearly full, so that gateways refuse edits of all its documents. They can still be read."""
    room_full: bool = False
    """Whether nobody has written in the document, and its room has as many others as it may have. Gateways refuse edits
    then."""
    deleted: int = 0
    """The sequence of the last deletion of the document, 0 if it was never deleted. After a deletion, the document is
    another one."""
    deleted_bytes: int = 0
    """The length of `SyncReply.deleted`, which comes first."""
    vector_bytes: int = 0
    """The length of the state vector, which comes before the difference."""

    @property
    def is_full(self) -> bool:
        """Whether the document is too large, so that gateways refuse edits of it. It can still be read."""
        return 0 < self.max_bytes <= self.size_bytes

    @property
    def accepts_edits(self) -> bool:
        return not (self.is_full or self.storage_full or self.room_full)


class SyncReply(BaseModel):
    """The part of a document that the asker does not have."""

    model_config = ConfigDict(frozen=True)

    head: SyncHead
    vector: bytes = EMPTY_VECTOR
    """The state vector of the document, so that the asker can send what the document has not."""
    difference: bytes = EMPTY_UPDATE
    """An update (version 1), also with updates that wait for others which are not stored."""
    deleted: bytes = EMPTY_VECTOR
    """The clients of the document before it was deleted, as `deleted_documents` encodes them."""

    def messages(self, max_bytes: int) -> Iterator[bytes]:
        """Encode the answer in messages of at most `max_bytes`, but for the line of JSON (at most 512 bytes)."""
        deleted = self.deleted if self.head.deleted_bytes else b""
        head = self.head.model_copy(update={"vector_bytes": len(self.vector)})
        return head.messages(deleted + self.vector + self.difference, max_bytes)


class SyncParts:
    def __init__(self) -> None:
        self._pieces = Pieces(SyncHead)

    def add(self, message: bytes) -> SyncReply | None:
        """Return the answer if this message completes it. Raises MalformedSync."""
        whole = self._pieces.add(message)
        return _reply(*whole) if whole is not None else None


def _reply(head: SyncHead, body: bytes) -> SyncReply:
    if min(head.vector_bytes, head.deleted_bytes) < 0 or head.vector_bytes + head.deleted_bytes > len(body):
        raise MalformedSync("the state vector is longer than the answer")
    deleted, body = body[: head.deleted_bytes], body[head.deleted_bytes :]
    vector, difference = body[: head.vector_bytes], body[head.vector_bytes :]
    return SyncReply(
        head=head,
        vector=vector or EMPTY_VECTOR,
        difference=difference or EMPTY_UPDATE,
        deleted=deleted or EMPTY_VECTOR,
    )


class DocumentStatus(JsonMessage):
    """A notice on `document_subjects.document_status`: the document is too large, or fits again, or was deleted."""

    size_bytes: int
    max_bytes: int
    deleted: int = 0
    """The sequence of the deletion; 0 if this is about the size."""

    @property
    def is_full(self) -> bool:
        return self.max_bytes <= self.size_bytes
