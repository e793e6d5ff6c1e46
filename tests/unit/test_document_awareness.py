"""Awareness: which entries count, to whom a client belongs, and when it is gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studyroom.gateway.documents.awareness import GONE, Entry, Exchange, States, encode, read
from studyroom.shared.contract.lib0 import Malformed

ZOE = bytes.fromhex("010701187b2275736572223a7b226e616d65223a225a6fc3ab227d7d")
"""From y-protocols: client 7 with clock 1."""


def at(client: int, clock: int, state: str = "{}") -> Entry:
    return Entry(client, clock, state)


def states() -> States[str]:
    return States(clients_max=3)


def test_an_update_of_y_protocols_is_read_and_written():
    assert read(ZOE) == [Entry(7, 1, '{"user":{"name":"Zoë"}}')]
    assert encode(read(ZOE)) == ZOE


@pytest.mark.parametrize("state", ["", "{", "1", "[]", '"text"', '{"x":NaN}', "[" * 100_000])
def test_a_state_that_is_neither_an_object_nor_null_is_malformed(state: str):
    with pytest.raises(Malformed):
        read(encode([at(1, 1, state)]))


def test_too_many_entries_are_malformed():
    with pytest.raises(Malformed, match="1001 entries"):
        read(encode(at(number, 0) for number in range(1001)))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_malformed(data: bytes):
    try:
        entries = read(data)
    except Malformed:
        return
    assert read(encode(entries)) == entries


def test_a_higher_clock_wins_and_so_does_leaving_with_the_same():
    known = states()
    assert known.take([at(1, 5)], "ann", "a", 0) == [at(1, 5)]
    assert known.take([at(1, 5)], "ann", "a", 0) == []
    assert known.take([at(1, 4)], "ann", "a", 0) == []
    assert known.take([at(1, 6)], "ann", "a", 0) == [at(1, 6)]
    assert known.take([at(1, 6, GONE)], "ann", "a", 0) == [at(1, 6, GONE)]
    assert known.present() == []


def test_nobody_else_speaks_for_a_client():
    known = states()
    known.take([at(1, 5)], "ann", "a", 0)
    assert known.take([at(1, 9), at(1, 9, GONE)], "bob", "b", 0) == []
    assert known.present() == [at(1, 5)]


def test_the_same_user_takes_its_client_to_a_new_connection():
    known = states()
    known.take([at(1, 5)], "old", "a", 0)
    assert known.take([at(1, 5)], "new", "a", 0) == [at(1, 5)]
    assert known.withdraw("old", 0) == []
    assert known.present() == [at(1, 5)]


def test_the_echo_of_a_lost_client_does_not_bring_it_back():
    known = states()
    known.take([at(1, 5)], "ann", "a", 0)
    assert known.withdraw("ann", 0) == [at(1, 5, GONE)]
    assert known.take([at(1, 5), at(1, 4)], "bob", "b", 0) == []
    assert known.take([at(1, 5)], "ann again", "a", 0) == [at(1, 5)]


def test_a_client_that_nobody_has_introduced_cannot_leave():
    assert states().take([at(1, 5, GONE)], "ann", "a", 0) == []


def test_one_connection_introduces_a_few_clients_only():
    known = states()
    assert len(known.take([at(number, 0) for number in range(10)], "ann", "a", 0)) == 3
    assert len(known.take([at(20, 0)], "bob", "b", 0)) == 1


def test_a_state_that_is_not_renewed_is_dropped_and_then_forgotten():
    known = states()
    known.take([at(1, 5), at(2, 5)], "ann", "a", 0)
    known.take([at(1, 6)], "ann", "a", 20)
    assert known.drop_outdated(31) == [at(2, 5, GONE)]
    assert known.present() == [at(1, 6)]
    assert known.drop_outdated(62) == [at(1, 6, GONE)]
    assert known.take([at(2, 1)], "bob", "b", 62) == [at(2, 1)]


def test_gateways_exchange_entries_with_their_users():
    exchange = Exchange("gateway", [(at(1, 5, '{"a":"ä"}'), "ann"), (at(2, 1, GONE), "bob")], asks=True)
    assert Exchange.decode(exchange.encode()) == exchange


@pytest.mark.parametrize("data", [b"", b"{}\n\0", b'{"gateway":"g","asks":false,"users":["a"]}\n\0', b"[]\n\0"])
def test_a_malformed_exchange_is_malformed(data: bytes):
    with pytest.raises(Malformed):
        Exchange.decode(data)
