"""Sockets that leave answers unread are ended after a while, and the worst at once when it is too much together."""

import asyncio
import time
from dataclasses import dataclass, field

from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets, UnreadAnswers

FOR_EVER = 3600.0


@dataclass
class Transport:
    unread: int
    aborted: bool = False

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unread


@dataclass(eq=False)
class Client:
    transport: Transport

    @classmethod
    def leaving(cls, unread: int) -> "Client":
        return cls(Transport(unread))


async def test_the_socket_that_leaves_most_unread_is_ended_when_all_leave_too_much():
    unread = UnreadAnswers(FOR_EVER, max_bytes=100)
    clients = [Client.leaving(size) for size in (30, 50, 20)]
    for client in clients:
        unread.add(client)
    await asyncio.sleep(0)
    assert not any(client.transport.aborted for client in clients)
    unread.add(Client.leaving(1))
    await asyncio.sleep(0)
    assert [client.transport.aborted for client in clients] == [False, True, False]
    assert [unread.abort_late(), unread.abort_late()] == [1, 0]


async def test_answers_read_meanwhile_do_not_count():
    unread = UnreadAnswers(FOR_EVER, max_bytes=100)
    first, second = Client.leaving(90), Client.leaving(90)
    unread.add(first)
    first.transport.unread = 5
    unread.add(second)
    await asyncio.sleep(0)
    assert not first.transport.aborted
    assert not second.transport.aborted


async def test_a_socket_that_has_read_everything_or_is_gone_does_not_count():
    unread = UnreadAnswers(FOR_EVER, max_bytes=100)
    for _ in range(10):
        client = Client.leaving(90)
        unread.add(client)
        unread.discard(client)
        unread.discard(client)
    assert unread.abort_late() == 0


async def test_a_socket_that_does_not_read_in_time_is_ended():
    unread = UnreadAnswers(0.0, max_bytes=100)
    late, done = Client.leaving(1), Client.leaving(1)
    unread.add(late)
    unread.add(done)
    unread.discard(done)
    assert unread.abort_late() == 1
    assert late.transport.aborted
    assert not done.transport.aborted


@dataclass(eq=False)
class Plain:
    peer: str | None
    busy: bool = False
    transport: Transport = field(default_factory=lambda: Transport(0))


def by_name(peer: str | None) -> bytes | None:
    return peer.encode() if peer else None


def test_an_address_makes_room_for_its_newest_socket_with_its_oldest_idle_one():
    sockets = PlainSockets(2, by_name)
    busy, idle, other, newest = Plain("a", busy=True), Plain("a"), Plain("b"), Plain("a")
    for one in (busy, idle, other, newest):
        sockets.add(one)
    assert [one.transport.aborted for one in (busy, idle, other, newest)] == [False, True, False, False]
    newest.busy = True
    sockets.add(last := Plain("a"))
    assert last.transport.aborted
    assert [sockets.take_ended(), sockets.take_ended()] == [2, 0]


def test_sockets_that_are_gone_or_come_from_a_proxy_do_not_count():
    sockets = PlainSockets(1, by_name)
    for _ in range(3):
        sockets.add(one := Plain("a"))
        sockets.discard(one)
        sockets.discard(one)
    for _ in range(3):
        sockets.add(Plain(None))
    assert sockets.take_ended() == 0


def test_when_descriptors_are_short_the_oldest_idle_socket_of_all_goes():
    sockets = PlainSockets(10, by_name)
    busy, proxy, newer = Plain("a", busy=True), Plain(None), Plain("b")
    for one in (busy, proxy, newer):
        sockets.add(one)
    sockets.make_room()
    assert [one.transport.aborted for one in (busy, proxy, newer)] == [False, True, False]


def test_a_deadline_that_began_for_another_object_goes_on():
    awaited = AwaitedRequests(10)
    new, early, late = Client.leaving(0), Client.leaving(0), Client.leaving(0)
    awaited.add(new)
    awaited.add(early, since=time.monotonic() - 11)
    awaited.add(late, since=time.monotonic() - 5)
    awaited.add(early)
    assert early in awaited
    assert awaited.abort_late() == 1
    assert [client.transport.aborted for client in (new, early, late)] == [False, True, False]
    awaited.discard(late)
    assert late not in awaited
