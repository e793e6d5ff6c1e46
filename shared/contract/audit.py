"""Records of the audit stream: each erasure, export and retention, with its caller, target and outcome, and no content.

A record names a user by a fingerprint, the SHA-256 of the user id. Anyone who has the id finds its records, and the
records do not contain it. So an erasure can be carried out again on data that comes back with a restored backup.
"""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from studyroom.shared.contract import audit_subjects
from studyroom.shared.contract.ids import UserId
from studyroom.shared.contract.parts import JsonMessage


class Action(StrEnum):
    ERASE_USER = "erase_user"
    """The target is a fingerprint."""
    ERASE_ROOM = "erase_room"
    """The target is the id of a room."""
    REPEAT = "repeat_erasures"
    """Erase again what was erased since a time. The target is that time, in Unix seconds."""
    ERASE_OLD_MESSAGES = "erase_old_messages"
    """The target is the id of a room."""
    ERASE_OLD_VERSIONS = "erase_old_versions"
    """The target is the id of a room."""
    SET_RETENTION = "set_retention"
    """The target is the id of a room."""
    REMOVE_RETENTION = "remove_retention"
    """The target is the id of a room."""
    EXPORT_ROOM = "export_room"
    """The target is the id of a room."""
    EXPORT_USER = "export_user"
    """The target is a fingerprint."""


class Outcome(StrEnum):
    REQUESTED = "requested"
    """It has begun."""
    RUNNING = "running"
    """It goes on. A long erasure records this now and then."""
    DONE = "done"
    INTERRUPTED = "interrupted"
    """The gateway gave up before it was complete. Request it again."""


class AuditRecord(JsonMessage):
    """One record. Its subject has the action and the target, and its time is the commit time of the message."""

    action: Action
    target: str
    by: str
    """`key` and the name of the API key, `user` and the fingerprint of a moderator, or `retention`."""
    outcome: Outcome
    messages: int | None = None
    """How many messages, edits and reactions were erased."""
    documents: int | None = None
    """How many shared documents were deleted, or lost the name of the user."""
    commands: int | None = None
    """How many bans and other commands of moderators were removed."""
    versions: int | None = None
    """How many versions of documents were deleted."""
    messages_seconds: int | None = None
    """How long messages are kept from now on."""
    versions_seconds: int | None = None
    """How long versions of documents are kept from now on."""
    began: int | None = None
    """In Unix seconds: when `outcome` is `done`, what was stored before is gone."""
    before: int | None = None
    """In Unix seconds: messages and versions that were stored before are old."""

    @property
    def subject(self) -> str:
        return audit_subjects.audit(self.action, self.target)

    def encode(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


def fingerprint(user: UserId) -> str:
    """Return the SHA-256 of a user id in its canonical form, as 64 hexadecimal digits."""
    return sha256(user.encode()).hexdigest()


def is_until(stored_at: str, until: datetime | None) -> bool:
    """Whether an erasure up to a time, or of everything, includes what was stored at a time (RFC 3339)."""
    return until is None or datetime.fromisoformat(stored_at) <= until
