"""Whose request it is: the client's address, also behind proxies, and what of it is counted. Pure.

A proxy tells in `X-Forwarded-For` who came to it, behind what it was told itself. So the end of the list is to be
believed as far as it was written by proxies of ours; what a client wrote stands left of its own address.
"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_IPV6_NETWORK_BYTES = 8


def parse_address(text: str) -> Address | None:
    """An address, also with a port or in brackets, as some proxies write it. IPv4 within IPv6 is IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_network(text: str) -> Network:
    """Raises ValueError. An address is a network of one."""
    return ip_network(text)


def is_of(address: Address, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks)


def client_address(peer: Address, forwarded: str, proxies: Collection[Network]) -> Address:
    """`forwarded`: all values of `X-Forwarded-For`, in order. `proxies`: those that are believed.

    What no proxy of ours can have written ends the list: then it is whoever told us so.
    """
    client = peer
    for entry in reversed(forwarded.split(",")):
        if not is_of(client, proxies):
            break
        before = parse_address(entry)
        if before is None:
            break
        client = before
    return client


def counted_as(address: Address | None) -> bytes:
    """What limits go by: one IPv4 address, or the /64 of an IPv6 address, which is as little as anybody gets."""
    if address is None:
        return b""
    return address.packed[:_IPV6_NETWORK_BYTES]
