from studyroom.presence.leases import Leases
from studyroom.shared.contract.ids import GatewayId
from studyroom.shared.contract.presence import LOST_SECONDS

ONE, TWO = GatewayId("one"), GatewayId("two")
GUARD = 4.0


class Clock:
    """The leases of a replica whose writes come back at once while NATS is well."""

    def __init__(self) -> None:
        self.leases = Leases(GUARD)
        self.now = 0.0

    def pass_(self, seconds: float, *present: GatewayId, well: bool = True, renewing: GatewayId | None = None) -> None:
        """In steps of a quarter of a second, as the sweep makes them."""
        for _ in range(round(4 * seconds)):
            self.now += 0.25
            if renewing is not None:
                self.leases.renewed(renewing, self.now)
            if self.leases.overdue(present, self.now) and well:
                self.leases.add_proof(self.now, self.now)

    def dead(self, *present: GatewayId) -> list[GatewayId]:
        return self.leases.dead(present, self.now)


def test_a_gateway_that_renews_is_alive_however_long():
    clock = Clock()
    clock.pass_(60, ONE, renewing=ONE)

    assert clock.dead(ONE) == []
    assert len(clock.leases) == 1


def test_a_gateway_that_is_silent_for_too_long_is_dead_and_no_other():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.pass_(LOST_SECONDS - 0.25, ONE, TWO, renewing=TWO)
    assert clock.dead(ONE, TWO) == []
    clock.pass_(0.25, ONE, TWO, renewing=TWO)

    assert clock.dead(ONE, TWO) == [ONE]


def test_the_end_of_a_lease_makes_a_gateway_neither_sooner_nor_later_dead():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.pass_(6, ONE)
    clock.leases.ended(ONE, clock.now)
    assert len(clock.leases) == 0
    assert clock.dead(ONE) == []
    clock.pass_(LOST_SECONDS - 6, ONE)

    assert clock.dead(ONE) == [ONE]


def test_a_lease_that_nats_has_ended_silently_has_expired():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.pass_(5.75, ONE, TWO, renewing=TWO)
    assert len(clock.leases) == 2
    clock.pass_(0.5, ONE, TWO, renewing=TWO)
    assert len(clock.leases) == 1


def test_a_renewal_restarts_the_count():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.pass_(LOST_SECONDS - 0.5, ONE)
    clock.leases.renewed(ONE, clock.now)
    clock.pass_(LOST_SECONDS - 0.25, ONE)
    assert clock.dead(ONE) == []
    clock.pass_(0.25, ONE)

    assert clock.dead(ONE) == [ONE]


def test_nobody_is_dead_while_nothing_shows_that_nats_takes_writes():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.pass_(60, ONE, well=False)
    assert clock.dead(ONE) == []
    clock.pass_(GUARD - 0.25, ONE)
    assert clock.dead(ONE) == []
    clock.pass_(0.5, ONE)

    assert clock.dead(ONE) == [ONE]


def test_a_write_that_comes_back_late_proves_nothing_and_a_break_restarts_the_guard():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.pass_(LOST_SECONDS - 1, ONE)
    clock.leases.add_proof(clock.now, clock.now + 2)
    clock.pass_(GUARD - 0.25, ONE)
    assert clock.dead(ONE) == []
    clock.pass_(0.5, ONE)
    assert clock.dead(ONE) == [ONE]
    clock.pass_(2, ONE, well=False)
    assert clock.dead(ONE) == []
    clock.pass_(1, ONE)
    assert clock.dead(ONE) == []


def test_a_write_may_be_reported_to_have_proved_nothing():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.pass_(LOST_SECONDS, ONE)
    clock.leases.discard_proof()

    assert clock.dead(ONE) == []


def test_after_reading_the_leases_again_every_gateway_is_counted_again():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.pass_(LOST_SECONDS, ONE)
    clock.leases.reset()
    clock.pass_(LOST_SECONDS - 0.25, ONE)
    assert clock.dead(ONE) == []
    clock.pass_(0.5, ONE)

    assert clock.dead(ONE) == [ONE]


def test_no_proof_is_asked_for_while_every_gateway_renews_or_has_nobody():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.leases.renewed(TWO, 0)
    assert not clock.leases.overdue([ONE, TWO], 2.4)
    assert clock.leases.overdue([ONE, TWO], 2.5)
    clock.leases.renewed(ONE, 2.5)
    assert not clock.leases.overdue([ONE], 2.5)


def test_a_gateway_without_members_is_forgotten_once_its_lease_has_ended():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.leases.ended(ONE, 6)
    clock.pass_(20)
    clock.pass_(LOST_SECONDS - 0.25, ONE)

    assert clock.dead(ONE) == []


def test_how_long_ghosts_were_shown_counts_from_the_last_sign_of_life():
    clock = Clock()
    clock.leases.renewed(ONE, 0)
    clock.pass_(LOST_SECONDS, ONE)

    assert clock.dead(ONE) == [ONE]
    assert clock.leases.forget_dead(ONE, clock.now + 0.5) == LOST_SECONDS + 0.5
    assert clock.leases.forget_dead(ONE, clock.now) is None
