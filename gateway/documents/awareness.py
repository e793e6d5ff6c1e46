"""Awareness: the short-lived states of the clients of a document, such as cursors (y-protocols, `awareness.js`). Pure.

An awareness update is a list of entries. Each has the id of a client, the clock of its state, and the state as JSON,
`null` for a client that has gone. A higher clock wins, and so does `null` with the same clock.

Clients send on what they get, so an entry proves nothing about who sent it. An id belongs to the connection that has
introduced it, until that is lost. Entries of others for it are ignored, unless they are of the same user, who may have
connected again.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from studyroom.shared.contract import lib0
from studyroom.shared.contract.lib0 import Malformed, Reader

OUTDATED_SECONDS = 30.0
"""Clients renew their state every 15 s, and drop a state of others that was not renewed for this long."""
GONE = "null"
ENTRIES_MAX = 1000
"""More entries in one update are refused. It is more than the people whom an editor can show."""

Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Entry:
    client: int
    clock: int
    state: str
    """JSON; `GONE` for a client that has gone."""


def read(update: bytes) -> list[Entry]:
    """Decode an awareness update. Raises Malformed."""
    reader = Reader(update)
    if (count := reader.number()) > ENTRIES_MAX:
        raise Malformed(f"an awareness update has {count} entries, the maximum is {ENTRIES_MAX}")
    entries = [Entry(reader.number(), reader.number(), reader.text()) for _ in range(count)]
    for entry in entries:
        _check_state(entry.state)
    return entries


def _check_state(state: str) -> None:
    """Raises Malformed."""
    try:
        decoded = json.loads(state, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Malformed("an awareness state is not JSON") from None
    if decoded is not None and not isinstance(decoded, dict):
        raise Malformed("an awareness state is neither an object nor null")


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def encode(entries: Iterable[Entry]) -> bytes:
    listed = list(entries)
    encoded = [lib0.number(len(listed))]
    encoded += [lib0.number(one.client) + lib0.number(one.clock) + lib0.text(one.state) for one in listed]
    return b"".join(encoded)


@dataclass(slots=True)
class _Known(Generic[Owner]):
    entry: Entry
    owner: Owner
    user: str
    renewed: float
    """Seconds, on the clock of the caller."""


class States(Generic[Owner]):
    """The states of a document that this gateway knows, each with the connection or gateway that it came from."""

    __slots__ = ("_clients_max", "_known")

    def __init__(self, *, clients_max: int) -> None:
        """`clients_max`: how many ids one owner may introduce."""
        self._clients_max = clients_max
        self._known: dict[int, _Known[Owner]] = {}

    def __len__(self) -> int:
        """The number of clients that are there."""
        return sum(known.entry.state != GONE for known in self._known.values())

    def present(self) -> list[Entry]:
        return [known.entry for known in self._known.values() if known.entry.state != GONE]

    def of(self, owner: Owner) -> Iterator[Entry]:
        """The entries of clients of this owner that are there."""
        return (known.entry for known in self._known.values() if known.owner == owner and known.entry.state != GONE)

    def user_of(self, client: int) -> str:
        return self._known[client].user

    def take(self, entries: Iterable[Entry], owner: Owner, user: str, now: float) -> list[Entry]:
        """Take entries from an owner. Returns those that are news."""
        room = self._clients_max - sum(1 for _ in self.of(owner))
        news = []
        for entry in entries:
            known = self._known.get(entry.client)
            if known is None or known.entry.state == GONE or known.owner != owner:
                if room <= 0 or not self._may_introduce(known, entry, user):
                    continue
                room -= 1
            elif not _is_newer(entry, known.entry):
                continue
            self._known[entry.client] = _Known(entry, owner, user, now)
            news.append(entry)
        return news

    @staticmethod
    def _may_introduce(known: "_Known[Owner] | None", entry: Entry, user: str) -> bool:
        if entry.state == GONE:
            return False
        if known is None:
            return True
        if known.entry.state == GONE:
            # A state with the clock of one that has gone is an echo, unless its own user sends it.
            return entry.clock > known.entry.clock or (known.user == user and entry.clock == known.entry.clock)
        return known.user == user and entry.clock >= known.entry.clock

    def withdraw(self, owner: Owner, now: float) -> list[Entry]:
        """The owner is lost, and its clients with it. Returns the entries for others."""
        return self._end([client for client, known in self._known.items() if known.owner == owner], now)

    def drop_outdated(self, now: float) -> list[Entry]:
        """Drop states that were not renewed in time, and forget clients that have gone for long."""
        late = [client for client, known in self._known.items() if now - known.renewed > OUTDATED_SECONDS]
        ended = self._end(late, now)
        for client in late:
            if client not in {entry.client for entry in ended}:
                del self._known[client]
        return ended

    def _end(self, clients: Iterable[int], now: float) -> list[Entry]:
        ended = []
        for client in clients:
            known = self._known[client]
            if known.entry.state != GONE:
                known.entry = Entry(client, known.entry.clock, GONE)
                known.renewed = now
                ended.append(known.entry)
        return ended


def _is_newer(entry: Entry, known: Entry) -> bool:
    return entry.clock > known.clock or (entry.clock == known.clock and entry.state == GONE)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message between gateways about the clients of a document."""

    gateway: str
    entries: list[tuple[Entry, str]]
    """Entries of the clients of that gateway, each with the id of its user."""
    asks: bool = False
    """The gateway begins to host the document, and the others answer with all of their clients."""

    def encode(self) -> bytes:
        users = [user for _, user in self.entries]
        head = {"gateway": self.gateway, "asks": self.asks, "users": users}
        return json.dumps(head).encode() + b"\n" + encode(entry for entry, _ in self.entries)

    @classmethod
    def decode(cls, data: bytes) -> "Exchange":
        """Raises Malformed."""
        line, _, update = data.partition(b"\n")
        try:
            head = json.loads(line)
            gateway, asks, users = head["gateway"], head["asks"], head["users"]
            return cls(gateway, list(zip(read(update), users, strict=True)), asks)
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"not an exchange of awareness: {error}") from error
