"""The addresses that `studyroom up --host` prints and answers to."""

import pytest

from studyroom.services.stack.addresses import reach_of


@pytest.mark.parametrize(("host", "here"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]")])
def test_a_loopback_address_is_for_this_machine_alone(host: str, here: str):
    reach = reach_of(host)
    assert (reach.here, reach.from_elsewhere) == (here, [])
    assert here in reach.names


def test_an_address_of_this_machine_is_for_others_too():
    reach = reach_of("192.168.1.7")
    assert (reach.here, reach.from_elsewhere) == ("192.168.1.7", ["192.168.1.7"])
    assert {"localhost", "192.168.1.7"} <= set(reach.names)


def test_all_addresses_are_those_of_this_machine_and_the_address_that_others_see():
    reach = reach_of("0.0.0.0")
    assert reach.here == "127.0.0.1"
    assert set(reach.from_elsewhere) <= set(reach.names)
    assert not {"0.0.0.0", "127.0.0.1"} & set(reach.from_elsewhere)
