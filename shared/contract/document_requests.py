"""Requests of gateways to the documents service about whole documents and their versions, and its answers.

They are encoded as those of `documents`. A long answer takes several messages.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from studyroom.shared.contract.document_names import DocumentName, DocumentNameField
from studyroom.shared.contract.documents import AnswerLine, Head, Pieces
from studyroom.shared.contract.ids import RoomId, RoomIdField, UserId
from studyroom.shared.contract.long_edits import NAMED_MAX_CHARS
from studyroom.shared.contract.text import VISIBLE, UnicodeText

VERSION_NAME_MAX_CHARS = 128
PAGE_MAX = 100
_NO_NAME = DocumentName("-")
_NO_ROOM = RoomId("00000000-0000-0000-0000-000000000000")

VersionId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class Action(StrEnum):
    LIST = "list"
    """The documents of a room. The answer is a `DocumentsPage`."""
    READ = "read"
    """The contents of a document."""
    CREATE = "create"
    """Whether the document may be created with the update that follows the line, or with the long edit that the line
    names. The answer has the sequence that the stream must have for the document when the gateway stores the update."""
    WRITE = "write"
    """Whether the gateway may store the update that follows the line, or the long edit that the line names."""
    DISCARD = "discard"
    """Remove the parts of a long edit that was not stored."""
    DELETE = "delete"
    """Delete the document with its versions. Succeeds also if there is none."""
    LIST_VERSIONS = "list_versions"
    """The answer is a `VersionsList`."""
    MAKE_VERSION = "make_version"
    """Keep the document as it is now. The answer is its `VersionSummary`."""
    READ_VERSION = "read_version"
    DELETE_VERSION = "delete_version"
    RESTORE = "restore"
    """The answer is the update that gives the document the contents of the version. The gateway stores it."""
    ERASE_ROOM = "erase_room"
    """Delete all documents of a room with their versions, and overwrite what was stored of them."""
    EXPIRE_VERSIONS = "expire_versions"
    """Delete the versions of all documents of a room that were made up to `until`, and overwrite them. The answer has
    their number as its `sequence`."""
    LIST_AUTHORED = "list_authored"
    """The documents of the shard to whose subject the request goes that name one of `authors`. The answer is an
    `AuthoredPage`."""
    FORGET_AUTHORS = "forget_authors"
    """Remove `authors` from what is stored of a document. Store an update without an author before."""


class Format(StrEnum):
    UPDATE = "update"
    """One Yjs update (version 1)."""
    JSON = "json"
    TEXT = "text"


class RequestOutcome(StrEnum):
    OK = "ok"
    UNAVAILABLE = "unavailable"
    """The replica cannot do it now. Ask again."""
    INVALID = "invalid"
    """This replica does not understand the request. Asking again does not help."""
    NOT_FOUND = "not_found"
    EXISTS = "exists"
    """Somebody has written in the document."""
    DELETED = "deleted"
    """The update is of a document that was deleted."""
    MALFORMED = "malformed"
    """The update cannot be applied, or not without others, or has nothing."""
    TOO_COMPLEX = "too_complex"
    """The document cannot be converted in the time and memory that there is for it."""
    DOCUMENT_FULL = "document_full"
    TOO_MANY_DOCUMENTS = "too_many_documents"
    """The room has as many documents as the limit allows."""
    VERSIONS_FULL = "versions_full"
    """The document has as many versions as the limits allow."""
    STORAGE_FULL = "storage_full"


class DocumentRequest(Head):
    action: Action
    room: RoomIdField = _NO_ROOM
    """Without meaning for a list of a shard."""
    name: DocumentNameField = _NO_NAME
    """Without meaning for a list."""
    format: Format = Format.UPDATE
    """The format of the contents in the answer."""
    after: str = ""
    """In a request for a list, the name of the last document of the page before, or its `next`."""
    limit: int = Field(PAGE_MAX, ge=1, le=PAGE_MAX)
    edit: str = Field("", max_length=NAMED_MAX_CHARS)
    """The parts of a long edit, as `LongEdit` encodes them."""
    version: VersionId | None = None
    title: str = Field("", max_length=VERSION_NAME_MAX_CHARS)
    """The name of a new version."""
    author: str = ""
    """The name of the caller, for people."""
    author_id: UserId | None = None
    """None for a backend."""
    authors: list[str] = Field(default_factory=list)
    """The fingerprints of users who are erased (`audit.fingerprint`)."""
    until: datetime | None = None
    """Erase only documents that nobody has edited after this time; None for all. Of versions, see `EXPIRE_VERSIONS`."""

    def encode(self, update: bytes = b"") -> bytes:
        return self.joined(update)

    @classmethod
    def decode(cls, data: bytes) -> tuple[Self, bytes]:
        """Return the request and the update that follows it. Raises MalformedSync."""
        return cls.split(data)


class DocumentSummary(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: DocumentName
    bytes: int = Field(description="The length of the document as one update, or a little more.")
    updated_at: int = Field(description="The time of the last edit, in Unix seconds.")


class DocumentsPage(BaseModel):
    documents: list[DocumentSummary]
    next: str | None = Field(description="Send it as `after` to get the next page. Null on the last page.")


class VersionSummary(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: VersionId
    name: str
    created_at: int = Field(description="Unix seconds.")
    author: str = Field(description="The name of the user, or of the API key.")
    author_id: UserId | None = Field(description="Null for a backend.")
    bytes: int = Field(description="The length of the version as one update.")


class VersionsList(BaseModel):
    versions: list[VersionSummary]
    """The oldest first."""


class AuthoredDocument(BaseModel):
    model_config = ConfigDict(frozen=True)

    room: RoomId
    name: DocumentName
    authors: list[str]
    """The fingerprints of those users whom it names."""


class AuthoredPage(BaseModel):
    documents: list[AuthoredDocument]
    next: str | None
    """Send it as `after` to go on. None at the end."""


class NewVersion(BaseModel):
    name: UnicodeText = Field(max_length=VERSION_NAME_MAX_CHARS, json_schema_extra={"minLength": 1, "pattern": VISIBLE})


class AnswerHead(AnswerLine):
    outcome: RequestOutcome = RequestOutcome.OK
    sequence: int = 0
    """The sequence of the newest update that the contents have."""
    reason: str = Field("", max_length=200)
    """Why the request was not carried out, for people."""


class DocumentAnswer(BaseModel):
    model_config = ConfigDict(frozen=True)

    head: AnswerHead
    body: bytes = b""

    def messages(self, max_bytes: int) -> Iterator[bytes]:
        """Encode the answer: see `AnswerLine.messages`."""
        return self.head.messages(self.body, max_bytes)


class AnswerParts:
    def __init__(self) -> None:
        self._pieces = Pieces(AnswerHead)

    def add(self, message: bytes) -> DocumentAnswer | None:
        """Return the answer if this message completes it. Raises MalformedSync."""
        whole = self._pieces.add(message)
        return DocumentAnswer(head=whole[0], body=whole[1]) if whole is not None else None
