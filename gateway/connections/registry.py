"""The open connections of this gateway, with the number of each user and each address. Pure."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from studyroom.shared.contract.ids import ConnectionId, UserId

_Key = TypeVar("_Key")


class Registered(Protocol):
    @property
    def id(self) -> ConnectionId: ...
    @property
    def user(self) -> UserId: ...
    @property
    def address(self) -> bytes:
        """The key of the client's address in limits."""


Client = TypeVar("Client", bound=Registered)


class ConnectionCounts:
    """The number of open connections, of all kinds together."""

    def __init__(self) -> None:
        self._total = 0
        self._by_user: dict[UserId, int] = {}
        self._by_address: dict[bytes, int] = {}

    def __len__(self) -> int:
        return self._total

    def add(self, user: UserId, address: bytes) -> None:
        self._total += 1
        self._by_user[user] = self._by_user.get(user, 0) + 1
        self._by_address[address] = self._by_address.get(address, 0) + 1

    def remove(self, user: UserId, address: bytes) -> None:
        """Call it once for each `add`. Raises KeyError after that."""
        _decrease(self._by_user, user)
        _decrease(self._by_address, address)
        self._total -= 1

    def compact(self) -> None:
        self._by_user = dict(self._by_user)
        self._by_address = dict(self._by_address)

    def of_user(self, user: UserId) -> int:
        return self._by_user.get(user, 0)

    def of_address(self, address: bytes) -> int:
        return self._by_address.get(address, 0)

    def most_of_a_user(self) -> int:
        return max(self._by_user.values(), default=0)

    def most_of_an_address(self) -> int:
        return max(self._by_address.values(), default=0)


class Registry(Generic[Client]):
    def __init__(self, counts: ConnectionCounts | None = None) -> None:
        """`counts`: those of connections of another kind, which count together; None for counts of its own."""
        self._connections: dict[ConnectionId, Client] = {}
        self.counts = counts if counts is not None else ConnectionCounts()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._connections.values())

    def compact(self) -> None:
        """Give up the memory of entries that were removed, which a dict keeps until it grows."""
        self._connections = dict(self._connections)
        self.counts.compact()

    def get(self, connection: ConnectionId) -> Client | None:
        return self._connections.get(connection)

    def add(self, connection: Client) -> None:
        self._connections[connection.id] = connection
        self.counts.add(connection.user, connection.address)

    def remove(self, connection: Client) -> None:
        """Does nothing for a connection that closed before it was added."""
        if self._connections.pop(connection.id, None) is not None:
            self.counts.remove(connection.user, connection.address)


def _decrease(counts: dict[_Key, int], key: _Key) -> None:
    remaining = counts[key] - 1
    if remaining:
        counts[key] = remaining
    else:
        del counts[key]
