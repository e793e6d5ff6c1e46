"""One Yjs document in memory. Pure.

pycrdt keeps updates that wait for others, but leaves them out when it encodes a document. This class remembers them.

A document that rests is kept as one update, which takes a tenth of the memory. It can be read like that. The next edit
wakes it.
"""

from collections.abc import Iterator

import pycrdt

from studyroom.shared.contract import lib0
from studyroom.shared.contract.deleted_documents import is_of_deleted
from studyroom.shared.contract.documents import EMPTY_UPDATE, EMPTY_VECTOR
from studyroom.shared.contract.panics import is_failure

Vector = dict[int, int]
"""How many changes of each client a document has."""


class Malformed(ValueError):
    """These bytes are not a Yjs update, or not a state vector. Nothing has changed."""


class Broken(Exception):
    """An update ended within a change, so the document may be inconsistent. Read it again, without that update."""


class Document:
    __slots__ = ("_doc", "_size_bytes", "_state", "_tried", "_unsettled", "_vector")

    def __init__(self) -> None:
        self._doc: pycrdt.Doc[pycrdt.Map[object]] | None = None
        """None while the document rests."""
        self._state, self._vector = EMPTY_UPDATE, EMPTY_VECTOR
        """The document at the last time when it rested, without updates that wait, and its state vector."""
        self._unsettled: list[bytes] = []
        """Updates that may wait for others."""
        self._tried = b""
        """The state vector at which the waiting updates were applied again."""
        self._size_bytes = len(EMPTY_UPDATE)

    def apply(self, update: bytes) -> None:
        """Apply an update (version 1). Raises Malformed or Broken."""
        self._apply(update)
        self._unsettled.append(update)
        self._size_bytes += len(update)

    def _apply(self, update: bytes) -> None:
        try:
            self._awake().apply_update(update)
        except ValueError as error:
            raise Malformed(str(error)) from error
        except BaseException as error:
            if is_failure(error):
                raise Broken(str(error)) from error
            raise

    def _awake(self) -> "pycrdt.Doc[pycrdt.Map[object]]":
        if self._doc is None:
            doc: pycrdt.Doc[pycrdt.Map[object]] = pycrdt.Doc()
            for update in (self._state, *self._unsettled):
                if update != EMPTY_UPDATE:
                    doc.apply_update(update)
            self._doc, self._state, self._vector = doc, EMPTY_UPDATE, EMPTY_VECTOR
        return self._doc

    @property
    def rests(self) -> bool:
        return self._doc is None

    def rest(self) -> None:
        """Take little memory until the next edit. Raises Malformed or Broken."""
        self.settle()
        if self._doc is not None:
            self._state, self._vector = self._doc.get_update(), self._doc.get_state()
            self._doc = None

    @property
    def is_empty(self) -> bool:
        """Whether nobody has ever written in it, apart from updates that wait."""
        return self.vector == EMPTY_VECTOR

    @property
    def waits(self) -> bool:
        """Whether some updates wait for others."""
        self.settle()
        return bool(self._unsettled)

    @property
    def vector(self) -> bytes:
        """The state vector of the document, without updates that wait."""
        return self._vector if self._doc is None else self._doc.get_state()

    def settle(self) -> None:
        """Forget updates that do not wait any more. Call it now and then, because it frees memory.

        When an update comes that others have waited for, pycrdt leaves some of their changes behind. So what seems to
        wait is applied again. Raises Malformed or Broken.
        """
        while self._unsettled:
            vector = self.vector
            state = _decode_vector(vector)
            rests = (pycrdt.get_update(update, _part_for(update, vector, state)) for update in self._unsettled)
            self._unsettled = [rest for rest in rests if _waits(rest, state)]
            if vector == self._tried:
                return
            self._tried = vector
            for rest in self._unsettled:
                self._apply(rest)

    def difference(self, vector: bytes = EMPTY_VECTOR) -> bytes:
        """Return what the document has beyond a state vector as one update, with those that wait.

        Raises Malformed or Broken.
        """
        self.settle()
        try:
            update = self._beyond(vector)
        except ValueError as error:
            raise Malformed(str(error)) from error
        return pycrdt.merge_updates(update, *self._unsettled) if self._unsettled else update

    def _beyond(self, vector: bytes) -> bytes:
        """Raises ValueError."""
        if self._doc is not None:
            return self._doc.get_update(vector)
        return self._state if vector == EMPTY_VECTOR else pycrdt.get_update(self._state, vector)

    @property
    def size_bytes(self) -> int:
        """The length of the whole document as one update. It is exact after `measure`, and then too large at most."""
        return self._size_bytes

    def measure(self) -> int:
        """Return the exact `size_bytes`. This takes as long as encoding the document."""
        self._size_bytes = len(self.difference())
        return self._size_bytes


def is_of(update: bytes, deleted: bytes) -> bool:
    """Return whether an update is of the document that was there before. False for bytes that are not an update.

    `deleted`: see `deleted_documents`.
    """
    try:
        return is_of_deleted(update, deleted)
    except BaseException as error:
        if is_failure(error):
            return False
        raise


def _part_for(update: bytes, vector: bytes, state: Vector) -> bytes:
    """Return the part of a state vector that matters for an update, if that has structs of one client at most.

    Documents have a client for each time that someone opened them, and pycrdt would read all of those for each update.
    """
    numbers = _numbers(update)
    clients = next(numbers)
    if clients > 1:
        return vector
    client = (next(numbers), next(numbers))[1] if clients else None
    if client not in state:
        return EMPTY_VECTOR
    return b"\x01" + lib0.number(client) + lib0.number(state[client])


def _waits(rest: bytes, state: Vector) -> bool:
    """Return whether an update has structs or deletions beyond the state of the document.

    `rest`: the update without structs that the document has. An update begins with the number of clients with structs.
    Its deletions follow: clients, and for each its id and ranges of a clock and a length.
    """
    numbers = _numbers(rest)
    if next(numbers):
        return True
    for _ in range(next(numbers)):
        has = state.get(next(numbers), 0)
        for _ in range(next(numbers)):
            if next(numbers) + next(numbers) > has:
                return True
    return False


def _decode_vector(vector: bytes) -> Vector:
    numbers = _numbers(vector)
    return {next(numbers): next(numbers) for _ in range(next(numbers))}


def _numbers(data: bytes) -> Iterator[int]:
    """Decode numbers of variable length, 7 bits in each byte, lowest first (lib0's `varUint`)."""
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the highest bit means that more follows
            yield number
            number = shift = 0
