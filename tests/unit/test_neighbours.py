from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.rooms.neighbours import Neighbours
from studyroom.shared.contract.ids import GatewayId, UserId

HERE, THERE, BEYOND = GatewayId("here"), GatewayId("there"), GatewayId("beyond")
ADA, BEN = UserId("ada"), UserId("ben")


def test_a_room_whose_members_are_all_here_has_no_neighbours():
    neighbours = Neighbours(HERE)
    assert not neighbours.locate(ADA, [HERE, HERE])
    assert not neighbours


def test_a_gateway_is_new_once():
    neighbours = Neighbours(HERE)
    assert neighbours.locate(ADA, [HERE, THERE])
    assert not neighbours.locate(BEN, [THERE])
    assert neighbours.locate(BEN, [THERE, BEYOND])


def test_a_member_that_moved_here_or_lost_its_connections_is_not_elsewhere():
    neighbours = Neighbours(HERE)
    neighbours.locate(ADA, [THERE])
    neighbours.locate(BEN, [THERE])
    neighbours.locate(ADA, [HERE])
    assert neighbours
    neighbours.locate(BEN, [])
    assert not neighbours


def test_a_gateway_that_comes_back_is_new_again():
    neighbours = Neighbours(HERE)
    neighbours.locate(ADA, [THERE])
    neighbours.remove(ADA)
    assert not neighbours
    assert neighbours.locate(ADA, [THERE])


GATEWAYS = st.lists(st.sampled_from([HERE, THERE, BEYOND]), max_size=3)


@given(st.lists(st.tuples(st.sampled_from([ADA, BEN]), st.none() | GATEWAYS), max_size=12))
def test_there_are_neighbours_exactly_while_somebody_is_on_another_gateway(steps):
    neighbours = Neighbours(HERE)
    truth: dict[UserId, set[GatewayId]] = {}
    for user, gateways in steps:
        if gateways is None:
            neighbours.remove(user)
            truth.pop(user, None)
        else:
            before = set[GatewayId]().union(*truth.values())
            truth[user] = set(gateways) - {HERE}
            assert neighbours.locate(user, gateways) == (not truth[user] <= before)
        assert bool(neighbours) == any(truth.values())


def test_one_of_the_gateways_with_members_is_the_first():
    gateways = {HERE: Neighbours(HERE), THERE: Neighbours(THERE), BEYOND: Neighbours(BEYOND)}
    for neighbours in gateways.values():
        neighbours.locate(ADA, [HERE, THERE])
        neighbours.locate(BEN, [BEYOND])
    assert [gateway for gateway, neighbours in gateways.items() if neighbours.own_is_first] == [BEYOND]
    assert Neighbours(THERE).own_is_first
