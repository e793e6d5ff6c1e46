"""The client's address, also behind proxies, and the key that limits use for it. Pure.

A proxy appends the address of its peer to the `X-Forwarded-For` that it received. So the gateway reads the list from
the end, for as long as a trusted proxy wrote the entry. Anything that a client wrote itself is left of its own address.
"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_IPV6_NETWORK_BYTES = 8


def parse_address(text: str) -> Address | None:
    """An IP address; None if `text` is not one. Some proxies add a port or brackets. IPv4-mapped IPv6 becomes IPv4."""
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
    """A network, or an address as a network of one. Raises ValueError."""
    return ip_network(text)


def is_in(address: Address, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks)


def client_address(peer: Address, forwarded: str, proxies: Collection[Network]) -> Address:
    """The address of the client that a trusted proxy named last, going back from `peer`.

    `forwarded`: all values of `X-Forwarded-For`, in order. `proxies`: the networks of trusted proxies. An entry that is
    not an address ends the search, and the proxy that sent it counts as the client.
    """
    client = peer
    for entry in reversed(forwarded.split(",")):
        if not is_in(client, proxies):
            break
        before = parse_address(entry)
        if before is None:
            break
        client = before
    return client


def limit_key(address: Address | None) -> bytes:
    """The key for limits per address: an IPv4 address, or the /64 of an IPv6 address; empty for None.

    An IPv6 client usually has a whole /64.
    """
    if address is None:
        return b""
    return address.packed[:_IPV6_NETWORK_BYTES]
