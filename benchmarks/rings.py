"""The hash ring of HAProxy, as `deploy/haproxy.cfg` configures it. Pure.

It follows `src/lb_chash.c` and `src/backend.c` of HAProxy 3.0. `make bench ARGS="--check home"` compares it with a
running HAProxy.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address

POSITIONS = 1600
"""Positions of each gateway: the weight of 100, and 16 for each unit of it."""
_MASK = 0xFFFFFFFF
_FIRST_ATTEMPT = "0"
"""The hashed text is the number that stands for a random choice, 0 in the first attempts, and the room."""


def full_hash(value: int) -> int:
    """Mix the bits of an integer, as HAProxy does."""
    value = (value + 0x7ED55D16 + (value << 12)) & _MASK
    value = value ^ 0xC761C23C ^ (value >> 19)
    value = (value + 0x165667B1 + (value << 5)) & _MASK
    value = ((value + 0xD3A2646C) ^ (value << 9)) & _MASK
    value = (value + 0xFD7046C5 + (value << 3)) & _MASK
    value = value ^ 0xB55A4F09 ^ (value >> 16)
    return (value * 3221225473) & _MASK


def place_of(room: str) -> int:
    """Return the place of a room on the ring."""
    value = 0
    for byte in (_FIRST_ATTEMPT + room).encode():
        value = (byte + (value << 6) + (value << 16) - value) & _MASK
    return full_hash(value)


def key_of(address: str, port: int) -> int:
    """Return the key from which the positions of a gateway follow (`hash-key addr-port`)."""
    return full_hash(full_hash(port) + int.from_bytes(IPv4Address(address).packed, "little") & _MASK)


class Ring:
    """The positions of gateways. A gateway is its number in the list of keys."""

    def __init__(self, keys: Iterable[int], positions: int = POSITIONS) -> None:
        occupied: dict[int, int] = {}
        for gateway, key in enumerate(keys):
            for index in range(positions):
                occupied.setdefault(full_hash(key + index & _MASK), gateway)
        self._places: Sequence[int] = sorted(occupied)
        self._gateways = [occupied[place] for place in self._places]

    def gateway(self, place: int) -> int:
        """Return the gateway with the nearest position."""
        after = bisect_left(self._places, place) % len(self._places)
        to_next = (self._places[after] - place) & _MASK
        to_last = (place - self._places[after - 1]) & _MASK
        return self._gateways[after - 1 if to_last <= to_next else after]
