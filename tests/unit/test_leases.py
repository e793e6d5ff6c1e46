from presence.leases import Leases
from shared.ids import GatewayId

ONE, TWO = GatewayId("one"), GatewayId("two")


def test_a_gateway_with_a_lease_is_alive_however_long():
    leases = Leases(guard_seconds=5)
    leases.renewed(ONE)

    assert leases.dead([ONE], now=0) == leases.dead([ONE], now=1000) == []


def test_a_gateway_that_is_missed_for_the_guard_time_is_dead():
    leases = Leases(guard_seconds=5)
    leases.renewed(ONE)
    leases.ended(ONE, now=10)

    assert leases.dead([ONE, TWO], now=14.9) == []
    assert leases.dead([ONE, TWO], now=15) == [ONE]
    assert leases.dead([ONE, TWO], now=20) == [ONE, TWO]


def test_a_lease_renewed_within_the_guard_time_begins_the_count_anew():
    leases = Leases(guard_seconds=5)
    leases.ended(ONE, now=0)
    leases.renewed(ONE)
    leases.ended(ONE, now=4)

    assert leases.dead([ONE], now=8) == []
    assert leases.dead([ONE], now=9) == [ONE]


def test_after_reading_the_leases_again_nobody_is_missed_yet():
    leases = Leases(guard_seconds=5)
    leases.ended(ONE, now=0)
    leases.reset()

    assert leases.dead([ONE], now=100) == []
    assert leases.dead([ONE], now=105) == [ONE]


def test_gateways_without_members_are_not_remembered():
    leases = Leases(guard_seconds=5)
    leases.ended(ONE, now=0)

    assert leases.dead([], now=100) == []
    assert leases.dead([ONE], now=100) == []
