"""Yjs updates: their check, their merge, their order in the log, and long ones to send again. Pure, on pycrdt."""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from pycrdt import get_state, get_update, merge_updates

from studyroom.shared.contract.documents import EMPTY_UPDATE, SyncReply
from studyroom.shared.contract.lib0 import Malformed, Reader, contains, read_deletions
from studyroom.shared.contract.panics import is_failure
from studyroom.shared.contract.yjs_updates import check_readable

_CLIENTS_MAX = 100_000
"""More clients in a state vector are refused. A document has one for each time that someone opened it and wrote."""
_Result = TypeVar("_Result")


def check_update(update: bytes) -> None:
    """Raises Malformed for bytes that are not a Yjs update (version 1), for pycrdt or for the Yjs of editors."""
    _guarded(lambda: get_state(update))
    check_readable(update)


def check_vector(vector: bytes) -> None:
    """Raises Malformed for bytes that are not a state vector."""
    _read_vector(vector)


def _read_vector(vector: bytes) -> dict[int, int]:
    """Return the number of changes of each client. Raises Malformed."""
    reader = Reader(vector)
    if (clients := reader.number()) > _CLIENTS_MAX:
        raise Malformed(f"the state vector has {clients} clients, the maximum is {_CLIENTS_MAX}")
    changes = {reader.number(): reader.number() for _ in range(clients)}
    if reader.rest:
        raise Malformed("bytes follow the state vector")
    return changes


def has_all_of(vector: bytes, other: bytes) -> bool:
    """Whether a document with this state vector has all changes of one with the other. Raises Malformed."""
    if vector == other:
        return True
    changes = _read_vector(vector)
    return all(changes.get(client, 0) >= count for client, count in _read_vector(other).items())


def merged(updates: list[bytes]) -> bytes:
    """One update with all changes of several. Raises Malformed."""
    return updates[0] if len(updates) == 1 else _guarded(lambda: merge_updates(*updates))


def adds_nothing(update: bytes, reply: SyncReply | None) -> bool:
    """Whether a checked update has nothing that the document lacks. False if that cannot be seen from `reply`.

    `reply`: what the document had for the author of the update. Yjs puts all deletions that it knows into each update
    of a sync, so most answers of clients have deletions only, and all of them are old.
    """
    if update == EMPTY_UPDATE:
        return True
    if reply is None or update[0] != 0:
        return False
    try:
        known = _guarded(lambda: get_update(reply.difference, reply.vector))
        if known == update:
            return True
        return known[0] == 0 and contains(read_deletions(known[1:]), read_deletions(update[1:]))
    except Malformed:
        return False


def _guarded(work: Callable[[], _Result]) -> _Result:
    """Raises Malformed where pycrdt raises anything."""
    try:
        return work()
    except BaseException as error:
        if is_failure(error):
            raise Malformed("not a Yjs update") from error
        raise


class Whole(NamedTuple):
    """A document as it was at some time."""

    log: tuple[str, int]
    """The epoch of its stream, and the sequence of the last deletion."""
    vector: bytes
    update: bytes


class Wholes:
    """Long documents, so that one that is opened often is read and sent through NATS once, and then only its newest
    part. The least recently opened ones leave when all together are too long."""

    def __init__(self, *, least_bytes: int, max_bytes: int) -> None:
        """`least_bytes`: of a document that is kept. `max_bytes`: of all of them."""
        self._least_bytes = least_bytes
        self._max_bytes = max_bytes
        self._wholes: OrderedDict[tuple[str, str], Whole] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, str]) -> Whole | None:
        """Return a document. `key`: its room and name."""
        whole = self._wholes.get(key)
        if whole is not None:
            self._wholes.move_to_end(key)
        return whole

    def put(self, key: tuple[str, str], whole: Whole) -> None:
        """Keep a document in place of what was kept before."""
        self.drop(key)
        size = len(whole.update)
        if not self._least_bytes <= size <= self._max_bytes:
            return
        self._wholes[key] = whole
        self._bytes += size
        while self._bytes > self._max_bytes:
            self.drop(next(iter(self._wholes)))

    def drop(self, key: tuple[str, str]) -> None:
        """Keep this document no longer."""
        whole = self._wholes.pop(key, None)
        if whole is not None:
            self._bytes -= len(whole.update)


class Position:
    """How far a gateway has received the log of a document.

    Each republished update names the one before it. So an update that does not follow the position shows a gap, and so
    does an answer of the documents service that goes further than the updates that arrive.
    """

    __slots__ = ("_chain", "reached")

    def __init__(self) -> None:
        self.reached: int | None = None
        """All updates up to this sequence have come; None before the first answer of the documents service."""
        self._chain: tuple[int, int] | None = None
        """The newest updates in a row that came after a gap: the sequence before the first of them, and the last."""

    @property
    def has_gap(self) -> bool:
        return self.reached is not None and self._chain is not None

    @property
    def newest(self) -> int:
        """The highest sequence that has come."""
        return max(self.reached or 0, self._chain[1] if self._chain is not None else 0)

    def receive(self, previous: int, sequence: int) -> None:
        """An update has come. `previous`: the sequence of the one before it, 0 for none."""
        if sequence <= self.newest:
            return
        if self._chain is not None:
            start, end = self._chain
            self._chain = (start if previous == end else previous, sequence)
            self._join()
        elif self.reached is not None and previous <= self.reached:
            self.reached = sequence
        else:
            self._chain = (previous, sequence)

    def answered(self, sequence: int) -> None:
        """Everything up to this sequence has come with an answer."""
        self.reached = max(self.reached or 0, sequence)
        self._join()

    def _join(self) -> None:
        if self._chain is not None and self.reached is not None and self._chain[0] <= self.reached:
            self.reached = max(self.reached, self._chain[1])
            self._chain = None
