import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.edge.addresses import client_address, limit_key, parse_address, parse_network

PROXIES = (parse_network("10.0.0.0/8"), parse_network("fd00::/8"))
PROXY, OTHER_PROXY = ip_address("10.0.0.1"), ip_address("fd00::2")
CLIENT = ip_address("203.0.113.7")

addresses = st.ip_addresses()
strangers = addresses.filter(
    lambda address: parse_address(str(address)) == address and not any(address in proxy for proxy in PROXIES)
)
written = st.lists(st.one_of(st.text(alphabet="0123456789abcdef.:[]% x,"), addresses.map(str))).map(",".join)
spellings = st.sampled_from(["{}", " {} ", "[{}]", "[{}]:443", "{}%eth0"])


@given(peer=strangers, forwarded=written)
def test_a_client_without_a_proxy_has_its_peer_address_for_any_header(peer: IPv4Address | IPv6Address, forwarded: str):
    assert client_address(peer, forwarded, PROXIES) == peer
    assert client_address(peer, forwarded, ()) == peer


@given(client=strangers, forged=written, proxies=st.lists(st.sampled_from(["10.1.2.3", "fd00::9", "10.9.9.9:80"])))
def test_a_client_changes_nothing_by_writing_left_of_its_address(
    client: IPv4Address | IPv6Address, forged: str, proxies: list[str]
):
    forwarded = ", ".join([forged, str(client), *proxies])
    assert client_address(PROXY, forwarded, PROXIES) == client


@given(text=st.text())
def test_any_text_is_an_address_or_none(text: str):
    address = parse_address(text)
    assert address is None or parse_address(str(address)) == address


@given(address=st.ip_addresses(v=6), spelling=spellings)
def test_an_ipv6_address_is_known_in_every_spelling(address: IPv6Address, spelling: str):
    assert parse_address(spelling.format(address)) == parse_address(str(address)) == (address.ipv4_mapped or address)
    assert parse_address(address.exploded) == parse_address(str(address))


@given(address=st.ip_addresses(v=4))
def test_an_ipv4_address_within_ipv6_is_the_same_client(address: IPv4Address):
    assert parse_address(f"::ffff:{address}") == parse_address(f"{address}:4711") == address
    assert limit_key(parse_address(f"::ffff:{address}")) == limit_key(address)


@given(first=st.ip_addresses(v=6), second=st.ip_addresses(v=6))
def test_ipv6_addresses_count_together_when_they_share_64_bits(first: IPv6Address, second: IPv6Address):
    assert (limit_key(first) == limit_key(second)) == (int(first) >> 64 == int(second) >> 64)


@given(first=st.ip_addresses(v=4), second=addresses)
def test_ipv4_addresses_count_for_themselves(first: IPv4Address, second: IPv4Address | IPv6Address):
    assert (limit_key(first) == limit_key(second)) == (first == second)


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.7", CLIENT),
        ("198.51.100.1, 203.0.113.7", CLIENT),
        ("198.51.100.1,203.0.113.7,10.0.0.2", CLIENT),
        ("203.0.113.7, fd00::2", CLIENT),
        ("203.0.113.7:1234", CLIENT),
        ("::ffff:203.0.113.7", CLIENT),
        ("203.0.113.7, unknown, 10.0.0.2", ip_address("10.0.0.2")),
        ("203.0.113.7, 10.0.0.2, ", PROXY),
        ("203.0.113.7, 10.0.0.300", PROXY),
        ("", PROXY),
        ("10.0.0.3, 10.0.0.2", ip_address("10.0.0.3")),
    ],
)
def test_the_client_is_the_last_address_outside_the_proxies(forwarded: str, client: IPv4Address | IPv6Address):
    assert client_address(PROXY, forwarded, PROXIES) == client
    assert client_address(OTHER_PROXY, f"{forwarded}, 10.0.0.1", PROXIES) == client


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "fd00::1/8", "*", "all", "10.0.0", "rooms.example"])
def test_text_other_than_a_network_is_refused(text: str):
    with pytest.raises(ValueError, match=re.escape(repr(text)) + "|" + re.escape(text)):
        parse_network(text)
