"""How many sockets a gateway may have, by its file descriptors. Pure."""

from dataclasses import dataclass

_OWN_FILES = 20
"""What a gateway has open with no client: its listeners, NATS, the event loop, its log."""
_PLAIN_SHARE, _PLAIN_MIN, _PLAIN_MAX = 8, 4, 512
"""Of all sockets these are kept for handshakes and plain HTTP, so that a full gateway still answers."""
_ADDRESS_SHARE = 4
"""One address may have this part of all sockets for plain HTTP."""


@dataclass(frozen=True, slots=True)
class Capacity:
    connections: int
    """WebSockets."""
    of_address: int
    """Sockets of plain HTTP of one address."""


def capacity(descriptors: int, *, connections_max: int, address_sockets_max: int) -> Capacity:
    """`descriptors`: those that may be used for clients and for what is open without any. 0 stands for no limit."""
    sockets = max(_PLAIN_MIN + 1, descriptors - _OWN_FILES)
    most = sockets - min(max(_PLAIN_MIN, sockets // _PLAIN_SHARE), _PLAIN_MAX)
    return Capacity(
        connections=min(connections_max or most, most),
        of_address=min(address_sockets_max or sockets, max(_PLAIN_MIN, sockets // _ADDRESS_SHARE)),
    )
