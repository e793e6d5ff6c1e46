"""Restores an earlier state of a document by an edit. Pure.

The edit undoes all changes since that state, as an editor's undo does: it deletes what was written since then, and
writes again what was deleted. So it merges with the edits of others, and the history goes on.
"""

from typing import Any

import pycrdt

_SINCE = "since"


def restoring(current: bytes, earlier: bytes) -> bytes:
    """Return the update that gives a document the contents that it had.

    `current`: the whole document. `earlier`: the whole document as it was. It has what was deleted since then.
    """
    now: pycrdt.Doc[Any] = pycrdt.Doc()
    now.apply_update(current)
    doc: pycrdt.Doc[Any] = pycrdt.Doc(skip_gc=True)  # keeps what the changes delete
    doc.apply_update(earlier)
    # Any kind of type does, because the manager only looks at where a change is.
    scopes: list[Any] = [doc.get(name, type=pycrdt.Map) for name in {*doc.keys(), *now.keys()}]
    if not scopes:
        return doc.get_update(now.get_state())
    manager = pycrdt.UndoManager(scopes=scopes, capture_timeout_millis=0)
    manager.include_origin(_SINCE)
    with doc.transaction(origin=_SINCE):
        doc.apply_update(current)
    manager.undo()
    return doc.get_update(now.get_state())


def size_with(current: bytes, update: bytes) -> bytes:
    """Return the length that a document has after an update, in decimal digits. `current`: the whole document."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(current)
    doc.apply_update(update)
    return str(len(doc.get_update())).encode()
