import sys
from types import SimpleNamespace
from typing import Any

from studyroom.gateway.connections.registry import Registry
from studyroom.shared.chassis.memory import HighWaterMark, trim
from studyroom.shared.contract.ids import new_connection_id, new_user_id


def test_memory_is_trimmed_once_half_of_many_are_gone_and_not_before():
    tide = HighWaterMark(at_least=100)
    assert [tide.has_halved(now) for now in (50, 200, 101, 100, 99, 51, 0)] == [False] * 3 + [True, False, False, True]


def test_few_are_not_worth_it():
    tide = HighWaterMark(at_least=100)
    assert not any(tide.has_halved(now) for now in (99, 0, 99, 0))


def test_giving_back_is_harmless():
    trim()


def test_a_registry_gives_up_the_memory_of_connections_that_have_gone_and_keeps_the_others():
    registry = Registry[Any]()
    made = [SimpleNamespace(id=new_connection_id(), user=new_user_id(), address=b"a") for _ in range(1000)]
    for connection in made:
        registry.add(connection)
    for connection in made[1:]:
        registry.remove(connection)
    before = sys.getsizeof(registry._connections)
    registry.compact()

    assert sys.getsizeof(registry._connections) < before / 10
    assert list(registry) == made[:1]
    assert registry.get(made[0].id) is made[0]
    assert (registry.counts.of_user(made[0].user), registry.counts.of_address(b"a")) == (1, 1)
    registry.remove(made[0])
    assert registry.counts.most_of_a_user() == 0
