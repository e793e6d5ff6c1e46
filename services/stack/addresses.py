"""The addresses and names by which clients can reach this machine."""

import socket
from contextlib import suppress
from dataclasses import dataclass

_NAMES_OF_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
_EVERYWHERE = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}
_FAR_AWAY = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849). Packets to them would leave by the address that others know."""


@dataclass(frozen=True)
class Reach:
    """Addresses and names as in URLs, with IPv6 addresses in brackets."""

    here: str
    """The address for this machine itself."""
    from_elsewhere: list[str]
    """Addresses for other devices; none if there is no network, or if the listener serves this machine only."""
    names: list[str]
    """All hosts that browsers may use."""


def reach_of(host: str) -> Reach:
    """Return the addresses and names of a listener on this address."""
    if host in _EVERYWHERE:
        address = _outgoing(_EVERYWHERE[host])
        others = [_in_url(address)] if address is not None else []
        name = socket.gethostname().lower()
        return Reach("127.0.0.1", others, [*_NAMES_OF_THIS_MACHINE, *others, name, f"{name}.local"])
    shown = _in_url(host)
    if shown in _NAMES_OF_THIS_MACHINE:
        return Reach(shown, [], list(_NAMES_OF_THIS_MACHINE))
    return Reach(shown, [shown], [*_NAMES_OF_THIS_MACHINE, shown])


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _outgoing(family: socket.AddressFamily) -> str | None:
    """Return the address by which this machine reaches others, None without a network. It sends no packet."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_FAR_AWAY[family], 9))
        address: str = probe.getsockname()[0]
        return address
    return None
