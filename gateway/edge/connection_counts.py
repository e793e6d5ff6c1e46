"""Counts the connections of each user and each address on this gateway."""

from typing import TypeVar

from studyroom.shared.contract.ids import UserId

_Key = TypeVar("_Key")


class ConnectionCounts:
    def __init__(self) -> None:
        self._by_user: dict[UserId, int] = {}
        self._by_address: dict[bytes, int] = {}

    def add(self, user: UserId, address: bytes) -> None:
        self._by_user[user] = self._by_user.get(user, 0) + 1
        self._by_address[address] = self._by_address.get(address, 0) + 1

    def remove(self, user: UserId, address: bytes) -> None:
        """Call it once for each `add`. Raises KeyError after that."""
        _decrease(self._by_user, user)
        _decrease(self._by_address, address)

    def of_user(self, user: UserId) -> int:
        return self._by_user.get(user, 0)

    def of_address(self, address: bytes) -> int:
        return self._by_address.get(address, 0)

    def most_of_a_user(self) -> int:
        return max(self._by_user.values(), default=0)

    def most_of_an_address(self) -> int:
        return max(self._by_address.values(), default=0)


def _decrease(counts: dict[_Key, int], key: _Key) -> None:
    remaining = counts[key] - 1
    if remaining:
        counts[key] = remaining
    else:
        del counts[key]
