"""Targets for shared documents: updates and messages of editors, and of other gateways."""

from contextlib import suppress

import pycrdt

from studyroom.gateway.documents import awareness, messages
from studyroom.gateway.documents.updates import check_update, check_vector, merged
from studyroom.services.documents.document import Broken, Document
from studyroom.services.documents.document import Malformed as NotApplied
from studyroom.shared.contract.lib0 import Malformed
from studyroom.shared.contract.yjs_updates import check_readable
from tests.support.documents import Author

_AUTHOR = Author()
UPDATES = (
    *(_AUTHOR.write("aé😀"), _AUTHOR.format(), _AUTHOR.put("k", {"x": [1, -2.5, None, True, "y"]}), _AUTHOR.delete(0)),
    _AUTHOR.difference(b"\x00"),
)
MESSAGES = (
    *(b"\x00\x00\x01\x00", b"\x00\x02\x02\x00\x00", b"\x03", b"\x02\x00\x03abc", b"\x07"),
    *(b"\x05notes\x02\x00\x00", b"\x05notes\x00\x01\x02\x00\x00", b'\x01\x0a\x01\x07\x01\x06{"a":1}'),
)


def updates(data: bytes) -> None:
    """The documents service can take every update that a gateway takes, and Yjs can read its answers."""
    try:
        check_update(data)
    except Malformed:
        return
    check_readable(merged([data, UPDATES[-1]]))
    document = Document()
    document.apply(UPDATES[-1])
    with suppress(NotApplied, Broken):
        document.apply(data)
        answer = document.difference()
        check_readable(answer)
        pycrdt.Doc().apply_update(answer)


def received(data: bytes) -> None:
    """A message of an editor is read, or refused by name, in both framings."""
    for message in (data, _without_name(data)):
        with suppress(Malformed):
            match messages.read(message):
                case messages.SyncStep1(state):
                    check_vector(state)
                case messages.Edit(update):
                    updates(update)
                case messages.Awareness(update):
                    entries = awareness.read(update)
                    assert awareness.read(awareness.encode(entries)) == entries


def _without_name(data: bytes) -> bytes:
    try:
        return messages.split_name(data)[1]
    except Malformed:
        return b""
