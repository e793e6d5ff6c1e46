"""Which addresses hooks may be sent to."""

from ipaddress import ip_network

import pytest

from studyroom.services.hooks.addresses import is_in, is_public, read

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8", "64:ff9b::5db8:d822"]
OTHERS = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
    "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "fe80::1",
    "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "2002:7f00:1::", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2001:0:5db8:d822::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_allowed(address: str):
    assert is_public(read(address))


@pytest.mark.parametrize("address", OTHERS)
def test_private_local_and_reserved_addresses_are_refused_however_they_are_written(address: str):
    assert not is_public(read(address))


def test_a_network_of_the_settings_is_allowed_and_only_that():
    networks = [ip_network("10.96.0.0/12"), ip_network("fd00::/8")]
    allowed = {address for address in (*OTHERS, "10.100.0.7", "::ffff:10.100.0.7") if is_in(read(address), networks)}
    assert allowed == {"10.100.0.7", "::ffff:10.100.0.7", "fd00:ec2::254"}
