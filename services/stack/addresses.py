"""By which addresses and names a machine can be reached."""

import socket
from contextlib import suppress
from dataclasses import dataclass

_NAMES_OF_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
_EVERYWHERE = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}
_FAR_AWAY = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of nobody (RFC 5737, RFC 3849): what would go there leaves by the address that others know."""


@dataclass(frozen=True)
class Reach:
    """All as they stand in a URL: IPv6 in brackets."""

    here: str
    """What this machine calls itself."""
    from_elsewhere: list[str]
    """Addresses for other devices; none where only this machine is served, or has no network."""
    names: list[str]
    """All that a browser may have in its address bar."""


def reach_of(host: str) -> Reach:
    """How something that listens on this address is reached."""
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
    """The address by which this machine reaches others; None without a network. Nothing is sent."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_FAR_AWAY[family], 9))
        address: str = probe.getsockname()[0]
        return address
    return None
