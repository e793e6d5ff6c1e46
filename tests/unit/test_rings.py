"""The model of HAProxy's hash ring, which the benchmarks use where no HAProxy can run."""

import random

from benchmarks.many_gateways import Part, divided, loads, zipf_sizes
from benchmarks.rings import Ring, key_of, place_of

PORTS = range(31_001, 31_009)
ROOMS = [f"550e8400-e29b-41d4-a716-{number:012x}" for number in range(2000)]
HOMES = [2, 2, 7, 4, 7, 7, 4, 4, 7, 5, 3, 6, 2, 0, 7, 5, 3, 1, 7, 1, 5, 2, 3, 4]
"""The gateways to which HAProxy 3.0.11 sent the first rooms, with the backend `rooms` of deploy/haproxy.cfg."""


def homes(ports: range) -> list[int]:
    ring = Ring(key_of("127.0.0.1", port) for port in ports)
    return [ring.gateway(place_of(room)) for room in ROOMS]


def test_rooms_have_the_homes_that_haproxy_gives_them():
    assert homes(PORTS)[: len(HOMES)] == HOMES


def test_an_added_gateway_takes_its_share_of_the_rooms_and_moves_no_others():
    before, after = homes(PORTS), homes(range(PORTS.start, PORTS.stop + 1))
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {8}
    assert 1 / 12 < len(moved) / len(ROOMS) < 1 / 7


def test_rooms_have_the_wanted_mean_size_and_the_limit_of_a_room():
    sizes = zipf_sizes(64_000)
    assert abs(sum(sizes) - 64_000) < 640
    assert (len(sizes), max(sizes), min(sizes)) == (8000, 2000, 1)
    assert sizes == sorted(sizes, reverse=True)


def test_a_divided_room_keeps_all_its_members():
    parts = list(divided([2000, 130, 8], 100, random.Random(1)))
    assert sum(part.size for part in parts) == 2138
    assert max(part.size for part in parts) <= 100
    assert len(parts) == 32 + 2 + 1


def test_loads_count_every_member_at_its_home():
    assert loads([Part(5, 0), Part(3, 1), Part(2, 2)], [1, 0, 1], 3) == [3, 7, 0]
