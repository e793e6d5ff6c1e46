"""How many sockets a gateway may have with its limit of file descriptors. Pure."""

from dataclasses import dataclass

_OWN_FILES = 20
"""Files that a gateway without clients has open: listeners, the connection to NATS, the event loop, the log."""
_PLAIN_SHARE, _PLAIN_MIN, _PLAIN_MAX = 8, 4, 512
"""One in eight sockets is reserved for handshakes and plain HTTP, so that a full gateway still answers."""
_ADDRESS_SHARE = 4
"""One address may use a quarter of all sockets for plain HTTP."""


@dataclass(frozen=True, slots=True)
class Capacity:
    connections: int
    """How many WebSockets."""
    of_address: int
    """How many sockets for plain HTTP from one address."""


def capacity(descriptors: int, *, connections_max: int, address_sockets_max: int) -> Capacity:
    """`descriptors`: how many files may be open, with and without clients. For the other arguments 0 means no limit."""
    sockets = max(_PLAIN_MIN + 1, descriptors - _OWN_FILES)
    most = sockets - min(max(_PLAIN_MIN, sockets // _PLAIN_SHARE), _PLAIN_MAX)
    return Capacity(
        connections=min(connections_max or most, most),
        of_address=min(address_sockets_max or sockets, max(_PLAIN_MIN, sockets // _ADDRESS_SHARE)),
    )
