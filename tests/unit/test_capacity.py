"""The number of connections that descriptors allow, and that no port gets all of them."""

import pytest

from studyroom.gateway.edge.capacity import Capacity, capacity
from studyroom.shared.chassis.descriptors import below_admin, below_public


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (64, Capacity(connections=16, of_address=5)),
        (1024, Capacity(connections=790, of_address=225)),
        (20_000, Capacity(connections=18_444, of_address=1000)),
        (1 << 20, Capacity(connections=1_047_020, of_address=1000)),
    ],
)
def test_connections_leave_room_for_handshakes_and_for_sockets_of_other_uses(limit: int, expected: Capacity):
    assert capacity(below_public(limit), connections_max=0, address_sockets_max=1000) == expected


def test_a_configured_limit_holds_where_it_fits():
    assert capacity(20_000, connections_max=16_000, address_sockets_max=0) == Capacity(16_000, 4995)
    assert capacity(1000, connections_max=16_000, address_sockets_max=10) == Capacity(858, 10)


@pytest.mark.parametrize("limit", [16, 32, 64, 256, 1024, 65_536])
def test_the_admin_port_may_use_descriptors_that_the_public_port_may_not(limit: int):
    assert below_public(limit) < below_admin(limit) < limit
    assert capacity(below_public(limit), connections_max=0, address_sockets_max=0).connections >= 1
