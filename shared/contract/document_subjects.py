"""The NATS subjects of shared documents: requests, what is stored, and events.

`subjects` has the names of their streams.
"""

from studyroom.shared.contract.document_names import DocumentName
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.subjects import shard_of

DOCUMENT_LOGS = "document.*.*.*"
DOCUMENT_SNAPSHOTS = "snapshot.>"
DOCUMENTS_INCARNATION = "document.incarnation"
DOCUMENT_REPUBLISH_TARGET = "documents.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}.update"


def documents_sync(shard: int) -> str:
    """Gateways ask here what a document has and they have not (`documents.SyncRequest`)."""
    return f"documents.{shard}.sync"


def documents_manage(shard: int) -> str:
    """Gateways ask here to list, read and delete documents and their versions (`document_requests`)."""
    return f"documents.{shard}.manage"


def document(room: RoomId, name: DocumentName) -> str:
    """The log of a document. A gateway publishes each update here, and it is stored when the stream acknowledges it."""
    return f"document.{shard_of(room)}.{room}.{name}"


def documents_of_shard(shard: int) -> str:
    return f"document.{shard}.*.*"


def document_snapshot(room: RoomId, name: DocumentName) -> str:
    """The snapshots of a document, in the stream of its log. Only the documents service writes them."""
    return f"snapshot.{shard_of(room)}.{room}.{name}"


def document_snapshot_part(room: RoomId, name: DocumentName) -> str:
    """The parts of snapshots that are too long for one message."""
    return f"{document_snapshot(room, name)}.part"


def document_deletion(room: RoomId, name: DocumentName) -> str:
    """The last deletion of a document. Earlier messages about the document do not count."""
    return f"{document_snapshot(room, name)}.deleted"


def document_versions(room: RoomId, name: DocumentName) -> str:
    """Everything about the versions of a document."""
    return f"{document_snapshot(room, name)}.version.>"


def document_version(room: RoomId, name: DocumentName, version: str) -> str:
    """A version of a document: a snapshot that is kept. Its contents are in parts."""
    return f"{document_snapshot(room, name)}.version.{version}"


def document_version_part(room: RoomId, name: DocumentName, version: str) -> str:
    return f"{document_version(room, name, version)}.part"


def document_edit(room: RoomId, name: DocumentName, edit: str = "*") -> str:
    """The parts of an edit that is too long for one message (`long_edits`), or of all. A gateway writes them."""
    return f"{document_snapshot(room, name)}.edit.{edit}"


def snapshots_of_shard(shard: int) -> str:
    return f"snapshot.{shard}.>"


def documents_of_room(room: RoomId) -> str:
    return f"document.{shard_of(room)}.{room}.*"


def parse_version(subject: str) -> tuple[str, bool]:
    """Return the id in the subject of a version, and whether it is that of a part. Raises ValueError for any other."""
    match subject.split("."):
        case ["snapshot", _shard, _room, _name, "version", version]:
            return version, False
        case ["snapshot", _shard, _room, _name, "version", version, "part"]:
            return version, True
        case _:
            raise ValueError(f"not the subject of a version: {subject!r}")


def parse_document(subject: str) -> tuple[RoomId, DocumentName]:
    """Return room and name of a document's log. Raises ValueError for any other subject."""
    match subject.split("."):
        case ["document", _shard, room, name]:
            return RoomId(room), DocumentName(name)
        case _:
            raise ValueError(f"not the log of a document: {subject!r}")


def documents_incarnation(group: int, groups: int) -> str:
    """The record about the stream of documents of one group of shards. It is in that stream (`incarnation`)."""
    return DOCUMENTS_INCARNATION if groups == 1 else f"{DOCUMENTS_INCARNATION}.{group}"


def document_events(room: RoomId, name: DocumentName) -> str:
    """The only subscription that a gateway has for a document."""
    return f"documents.{shard_of(room)}.{room}.{name}.*"


def document_update(room: RoomId, name: DocumentName) -> str:
    """JetStream republishes stored updates here."""
    return f"documents.{shard_of(room)}.{room}.{name}.update"


def document_awareness(room: RoomId, name: DocumentName) -> str:
    """Gateways exchange the awareness of a document's editors here. It is not stored."""
    return f"documents.{shard_of(room)}.{room}.{name}.awareness"


def document_status(room: RoomId, name: DocumentName) -> str:
    """The documents service reports here that a document is too large, or fits again (`documents.DocumentStatus`)."""
    return f"documents.{shard_of(room)}.{room}.{name}.status"


def document_event_kind(subject: str) -> str:
    """Return the token after the name in the subject of a document's event: `update`, `awareness` or `status`."""
    return subject.rsplit(".", 1)[1]


def snapshots_of_room(room: RoomId) -> str:
    """Snapshots, versions and deletions of all documents of a room."""
    return f"snapshot.{shard_of(room)}.{room}.>"


def versions_of_shard(shard: int) -> str:
    """The versions of all documents of a shard, without their contents."""
    return f"snapshot.{shard}.*.*.version.*"


def parse_snapshot(subject: str) -> tuple[RoomId, DocumentName]:
    """Return room and name in the subject of a snapshot, a version or a deletion. Raises ValueError for any other."""
    match subject.split("."):
        case ["snapshot", _shard, room, name, *_]:
            return RoomId(room), DocumentName(name)
        case _:
            raise ValueError(f"not the subject of a snapshot: {subject!r}")
