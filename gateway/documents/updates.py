"""Yjs updates: their check, their merge, and their order in the log. Pure, on pycrdt."""

from collections.abc import Callable
from typing import TypeVar

from pycrdt import get_state, get_update, merge_updates

from studyroom.shared.contract.documents import EMPTY_UPDATE, SyncReply
from studyroom.shared.contract.lib0 import Malformed, Reader, contains, read_deletions
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
    reader = Reader(vector)
    if (clients := reader.number()) > _CLIENTS_MAX:
        raise Malformed(f"the state vector has {clients} clients, the maximum is {_CLIENTS_MAX}")
    for _ in range(clients):
        reader.number(), reader.number()
    if reader.rest:
        raise Malformed("bytes follow the state vector")


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
        return known[0] == 0 and contains(read_deletions(known[1:]), read_deletions(update[1:]))
    except Malformed:
        return False


def _guarded(work: Callable[[], _Result]) -> _Result:
    """Raises Malformed where pycrdt raises anything. A panic in its Rust code is no `Exception`."""
    try:
        return work()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise Malformed("not a Yjs update") from error


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
