"""Workers agree on the home of a room, and a socket in an inbox is taken once."""

import socket
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pytest

from studyroom.shared.chassis.siblings import MESSAGE_MAX_BYTES, Handed, Siblings

ROOMS = [str(UUID(int=number)) for number in range(4000)]


@pytest.fixture
def workers() -> Iterator[list[Siblings]]:
    opened = Siblings.open(4)
    yield opened
    opened[0].close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    yield ends
    for each in ends:
        each.close()


def homes(siblings: Siblings) -> dict[str, int | None]:
    return {room: siblings.home(room) for room in ROOMS}


def taken(handed: Handed | None) -> bytes | None:
    if handed is None:
        return None
    handed.connected.close()
    return handed.message


def test_all_workers_agree_and_have_equal_shares(workers: list[Siblings]):
    shares = Counter(homes(workers[0]).values())

    assert all(homes(worker) == homes(workers[0]) for worker in workers)
    assert all(900 < shares[worker] < 1100 for worker in range(4))


def test_only_the_rooms_of_a_worker_that_goes_move_and_they_come_back(workers: list[Siblings]):
    before = homes(workers[0])
    workers[3].set_accepting(2, accepting=False)
    without = homes(workers[0])
    moved = {room for room in ROOMS if without[room] != before[room]}
    shares = Counter(without[room] for room in moved)
    workers[2].set_accepting(2, accepting=True)

    assert moved == {room for room in ROOMS if before[room] == 2}
    assert all(250 < shares[worker] < 420 for worker in (0, 1, 3))
    assert homes(workers[0]) == before


def test_without_workers_that_accept_there_is_no_home(workers: list[Siblings]):
    for worker in range(4):
        workers[0].set_accepting(worker, accepting=False)

    assert workers[1].home(ROOMS[0]) is None


def test_a_socket_goes_to_the_inbox_of_its_worker_and_works_there(
    workers: list[Siblings], pair: tuple[socket.socket, socket.socket]
):
    given, peer = pair
    assert workers[0].give(1, given, b"for one")
    given.close()
    handed = workers[1].take()
    assert handed is not None
    handed.connected.send(b"hello")
    received = peer.recv(8)
    blocking = handed.connected.getblocking()

    assert (taken(handed), received, blocking) == (b"for one", b"hello", False)
    assert [worker.take() for worker in workers] == [None] * 4
    assert peer.recv(8) == b""


def test_only_a_socket_that_has_waited_is_taken_back_and_only_once(
    workers: list[Siblings], pair: tuple[socket.socket, socket.socket]
):
    workers[0].give(1, pair[0], b"first")

    assert workers[0].is_waiting(1)
    assert workers[2].take_back(1, older_seconds=60) is None
    assert taken(workers[2].take_back(1, older_seconds=0)) == b"first"
    assert not workers[0].is_waiting(1)
    assert workers[0].take_back(1, older_seconds=0) is None
    assert workers[1].take() is None


def test_a_full_inbox_or_a_long_message_is_refused_at_once(
    workers: list[Siblings], pair: tuple[socket.socket, socket.socket]
):
    assert not workers[0].give(1, pair[0], bytes(MESSAGE_MAX_BYTES + 1))
    assert workers[0].give(1, pair[0], bytes(MESSAGE_MAX_BYTES))
    given = 1
    while workers[0].give(1, pair[0], bytes(MESSAGE_MAX_BYTES)):
        given += 1
    sizes = [len(taken(workers[1].take()) or b"") for _ in range(given)]

    assert sizes == [MESSAGE_MAX_BYTES] * given
    assert workers[0].give(1, pair[0], b"room again")
