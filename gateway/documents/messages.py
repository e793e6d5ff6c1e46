"""The messages of y-websocket and of Hocuspocus, in both directions. Pure.

A message of y-websocket is its kind and its contents (y-protocols, `PROTOCOL.md`):

    0 sync             0 is step 1, a state vector. 1 is step 2, an update that answers step 1. 2 is an update
    1 awareness        an awareness update
    2 auth             0 is the reason of a refusal, from the server
    3 query awareness  nothing. The receiver sends all states that it knows

Hocuspocus has the name of the document before the kind, so a socket can carry several documents, and it has more kinds:

    2 auth         0 is a token of the client. 1 is the reason of a refusal. 2 is `readonly` or `read-write`
    5 stateless    a text of the application
    7 close        the client has closed the document, or the server closes it for a reason
    8 sync status  1 if the server has stored a step 2 or an update, 0 if it has refused it
    10 pong        alone, without a name
"""

import json
from dataclasses import dataclass
from enum import IntEnum

from studyroom.shared.contract import lib0
from studyroom.shared.contract.lib0 import Malformed, Reader

_SESSION = "\0"
"""Ends the name of a document of Hocuspocus, before the session of a provider that shares a socket with another one for
the same document."""


class _Kind(IntEnum):
    SYNC = 0
    AWARENESS = 1
    AUTH = 2
    QUERY_AWARENESS = 3
    STATELESS = 5
    CLOSE = 7
    SYNC_STATUS = 8
    PONG = 10


class _Sync(IntEnum):
    STEP_1 = 0
    STEP_2 = 1
    UPDATE = 2


class _Auth(IntEnum):
    TOKEN = 0
    DENIED = 1
    AUTHENTICATED = 2


_PERMISSION_DENIED = 0
"""The only kind of `auth` in y-websocket (y-protocols, `auth.js`)."""


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """The client asks for all that it lacks."""

    state: bytes
    """The state vector of the client."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The client has changed its copy."""

    update: bytes
    is_answer: bool
    """Whether it is the answer to a step 1 of the server, with all that the server lacked."""


@dataclass(frozen=True, slots=True)
class Awareness:
    update: bytes


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    pass


@dataclass(frozen=True, slots=True)
class Token:
    """The client of Hocuspocus proves who it is; empty if it has no token."""

    token: str


@dataclass(frozen=True, slots=True)
class Close:
    """The client of Hocuspocus has closed one document."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that needs no answer: a pong, or a text of the application."""


_EDIT = bytes((_Kind.SYNC, _Sync.UPDATE))
_EDIT_HEAD_BYTES = len(_EDIT) + 1
"""The two kinds, and the length of the update if it has one byte."""
_ONE_BYTE_MAX = 127

FromClient = SyncStep1 | Edit | Awareness | QueryAwareness | Token | Close | Ignored


def read(message: bytes) -> FromClient:
    """Decode a message of y-websocket, or one of Hocuspocus after its name. Raises Malformed."""
    reader = Reader(message)
    kind = reader.number()
    match kind:
        case _Kind.SYNC:
            return _read_sync(reader)
        case _Kind.AWARENESS:
            return Awareness(reader.data())
        case _Kind.QUERY_AWARENESS:
            return QueryAwareness()
        case _Kind.AUTH if reader.number() == _Auth.TOKEN:
            return Token(reader.text())
        case _Kind.CLOSE:
            return Close()
        case _Kind.STATELESS | _Kind.PONG:
            return Ignored()
        case _:
            raise Malformed(f"there is no message of kind {kind} from clients")


def short_edit(message: bytes, prefix: bytes) -> bytes | None:
    """Return the update in a message that is an edit of at most 127 bytes, as most are; None for all others.

    `prefix`: comes before the kind. `read` reads the same from these messages, and takes longer.
    """
    start = len(prefix) + _EDIT_HEAD_BYTES
    if len(message) <= start or message[start - 1] != len(message) - start or message[start - 1] > _ONE_BYTE_MAX:
        return None
    return message[start:] if message.startswith(prefix) and message.startswith(_EDIT, len(prefix)) else None


def _read_sync(reader: Reader) -> SyncStep1 | Edit:
    step, contents = reader.number(), reader.data()
    match step:
        case _Sync.STEP_1:
            return SyncStep1(contents)
        case _Sync.STEP_2 | _Sync.UPDATE:
            return Edit(contents, is_answer=step == _Sync.STEP_2)
        case _:
            raise Malformed(f"there is no sync message of kind {step}")


def split_name(message: bytes) -> tuple[str, bytes]:
    """Return the name of the document in a message of Hocuspocus, and the rest. Raises Malformed.

    A pong has no name, so it has an empty one here.
    """
    if len(message) == 1:
        return "", message
    reader = Reader(message)
    return reader.text(), reader.rest


def document_of(name: str) -> str:
    """Return the document in the name of a message of Hocuspocus, without the session of the provider."""
    return name.partition(_SESSION)[0]


# --- from the server ---------------------------------------------------------------------------------------


def step_1(state: bytes) -> bytes:
    """Ask the client for all that the server lacks."""
    return bytes((_Kind.SYNC, _Sync.STEP_1)) + lib0.data(state)


def step_2(update: bytes) -> bytes:
    """Answer the step 1 of a client, which then counts as synced."""
    return bytes((_Kind.SYNC, _Sync.STEP_2)) + lib0.data(update)


def update(encoded: bytes) -> bytes:
    return _EDIT + lib0.data(encoded)


def awareness(encoded: bytes) -> bytes:
    return bytes((_Kind.AWARENESS,)) + lib0.data(encoded)


def denied(reason: str) -> bytes:
    """Refuse a document to a client of Hocuspocus."""
    return bytes((_Kind.AUTH, _Auth.DENIED)) + lib0.text(reason)


def permission_denied(reason: str) -> bytes:
    """Refuse a message of a client of y-websocket, which shows the reason in its console."""
    return bytes((_Kind.AUTH, _PERMISSION_DENIED)) + lib0.text(reason)


def authenticated(*, may_write: bool) -> bytes:
    """Accept a token of Hocuspocus."""
    return bytes((_Kind.AUTH, _Auth.AUTHENTICATED)) + lib0.text("read-write" if may_write else "readonly")


def sync_status(*, stored: bool) -> bytes:
    """Tell a client of Hocuspocus the outcome of one edit."""
    return bytes((_Kind.SYNC_STATUS, stored))


def stateless(payload: str) -> bytes:
    return bytes((_Kind.STATELESS,)) + lib0.text(payload)


def closed(reason: str) -> bytes:
    """Close one document of Hocuspocus."""
    return bytes((_Kind.CLOSE,)) + lib0.text(reason)


def named(name: str, message: bytes) -> bytes:
    """A message for a client of Hocuspocus. `name`: as the client sent it."""
    return lib0.text(name) + message


def deleted(reason: str) -> bytes:
    """Tell a client of Hocuspocus that its document was deleted, before `denied` ends it. `reason` is for people."""
    return stateless(json.dumps({"type": "DocumentDeleted", "message": reason}))


def refusal(kind: str, reason: str) -> bytes:
    """Tell a client of Hocuspocus why its edits are refused. `denied` would end the document there. `kind` is for
    programs, `reason` for people."""
    return stateless(json.dumps({"type": "EditRefused", "reason": kind, "message": reason}))
