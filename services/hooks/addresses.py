"""Which addresses a request of the service may go to. Pure.

The address of the backend comes from settings, but its name may resolve to anything later. Only global addresses are
allowed, and those of networks in the settings. Everything else is refused, also what a NAT would translate.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_6TO4 = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: a NAT translates these to the IPv4 address in their last four bytes."""


def read(text: str) -> Address:
    """Return the address that a packet would go to. An IPv4 address within IPv6 is that IPv4 address.

    Raises ValueError.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def is_public(address: Address) -> bool:
    """Return whether this is an address of the public Internet, and of one machine."""
    if address.is_multicast or not address.is_global:
        return False
    return isinstance(address, IPv4Address) or (address in _GLOBAL_UNICAST and address not in _6TO4)
