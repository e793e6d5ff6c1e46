"""Recognizes updates of a document that was deleted, so that nothing of it comes back. On pycrdt.

Each copy of a document in an editor has a Yjs client id of its own, and so has each change. An editor that still has
the deleted document sends all of it when it connects again, with ids of clients that had changed it. So an update with
one of these ids is of the deleted document. An editor with a new copy has a new id.

The ids are encoded as a state vector that has all changes of these clients.
"""

from collections.abc import Iterable

from pycrdt import get_update

from studyroom.shared.contract import lib0
from studyroom.shared.contract.documents import EMPTY_VECTOR
from studyroom.shared.contract.lib0 import Reader

_ALL_CHANGES = 2**31 - 1


def encode_clients(clients: Iterable[int]) -> bytes:
    encoded = [lib0.number(client) + lib0.number(_ALL_CHANGES) for client in clients]
    return lib0.number(len(encoded)) + b"".join(encoded)


def clients_of(vector: bytes) -> list[int]:
    """Return the clients in a state vector, in their order. Raises Malformed."""
    reader = Reader(vector)
    found = []
    for _ in range(reader.number()):
        found.append(reader.number())
        reader.number()
    return found


def is_of_deleted(update: bytes, deleted: bytes) -> bool:
    """Return whether a checked update has changes of clients of the deleted document.

    `deleted`: as `encode_clients` returns them.
    """
    if deleted == EMPTY_VECTOR:
        return False
    if update[0] == 0:  # it has deletions only
        return bool(set(clients_of(deleted)).intersection(lib0.read_deletions(update[1:])))
    return bool(get_update(update, deleted) != get_update(update, EMPTY_VECTOR))
