"""`poller` on real sockets, with epoll and without."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from studyroom.gateway.transport.poller import READABLE, WRITABLE, LoopPoller, Poller
from tests.support.waiting import eventually


class Watched:
    """One end of a pair of sockets, which writes down what the poller reports of it."""

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.watches = 0
        self.reported: list[int] = []

    def watch(self, events: int) -> None:
        self.poller.change(self.ours.fileno(), self, self.watches, events)
        self.watches = events

    def ready(self, events: int, /) -> None:
        self.reported.append(events)
        self.watch(0)

    def close(self) -> None:
        self.watch(0)
        self.ours.close()
        self.peer.close()


@pytest.fixture(params=[Poller, LoopPoller])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Watched, Watched]]:
    poller = request.param(asyncio.get_running_loop())
    made = Watched(poller), Watched(poller)
    yield made
    for one in made:
        one.close()


async def test_each_socket_is_reported_for_the_events_that_it_waits_for(pair: tuple[Watched, Watched]):
    reads, writes = pair
    reads.watch(READABLE)
    writes.watch(WRITABLE)
    await eventually(lambda: writes.reported, "a socket with an empty buffer is writable")
    assert reads.reported == []
    reads.peer.send(b"data")
    await eventually(lambda: reads.reported, "a socket with data is readable")
    assert (reads.reported, writes.reported) == ([READABLE], [WRITABLE])


async def test_a_socket_may_wait_for_something_else_later(pair: tuple[Watched, Watched]):
    one, _ = pair
    one.watch(READABLE)
    one.watch(READABLE | WRITABLE)
    await eventually(lambda: one.reported, "it is writable")
    one.watch(READABLE)
    one.peer.send(b"data")
    await eventually(lambda: len(one.reported) == 2, "it is readable")
    assert one.reported == [WRITABLE, READABLE]


async def test_the_end_of_the_peer_is_reported_to_a_reader(pair: tuple[Watched, Watched]):
    one, _ = pair
    one.watch(READABLE)
    one.peer.close()
    await eventually(lambda: one.reported, "it is readable")
    assert one.ours.recv(1) == b""


async def test_one_that_ends_another_keeps_it_from_being_reported(pair: tuple[Watched, Watched]):
    one, other = pair
    reported: list[Watched] = []

    def end_both(which: Watched) -> None:
        reported.append(which)
        for each in pair:
            each.watch(0)

    one.ready = lambda _events: end_both(one)  # type: ignore[method-assign]
    other.ready = lambda _events: end_both(other)  # type: ignore[method-assign]
    for each in pair:
        each.peer.send(b"data")
        each.watch(READABLE)
    await eventually(lambda: reported, "one of them is readable")
    await asyncio.sleep(0)
    assert len(reported) == 1


async def test_a_poller_that_pauses_reports_all_sockets_that_are_ready_after_the_pause_at_once():
    poller = Poller(asyncio.get_running_loop())
    poller.pause_seconds = 0.05
    first, *others = made = [Watched(poller) for _ in range(4)]
    for one in made:
        one.watch(READABLE)
    first.peer.send(b"data")
    await eventually(lambda: first.reported, "the first one is reported at once")
    for one in others:
        one.peer.send(b"data")
    while not any(one.reported for one in others):
        await asyncio.sleep(0)
    assert [len(one.reported) for one in others] == [1, 1, 1]
    for one in made:
        one.close()


async def test_a_poller_that_has_paused_in_vain_is_woken_by_the_next_message():
    poller = Poller(asyncio.get_running_loop())
    poller.pause_seconds = 0.001
    one, other = Watched(poller), Watched(poller)
    for watched in (one, other):
        watched.watch(READABLE)
    one.peer.send(b"data")
    await eventually(lambda: one.reported, "the first one is reported")
    await asyncio.sleep(0.01)  # there is nothing to read in several pauses
    poller.pause_seconds = 60.0
    other.peer.send(b"data")
    await eventually(lambda: other.reported, "the other one is reported without a pause")
    one.close()
    other.close()


async def test_a_handler_that_fails_does_not_stop_a_poller_that_pauses():
    loop = asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context.get("exception")))
    poller = Poller(loop)
    poller.pause_seconds = 0.001

    class Failing(Watched):
        def ready(self, events: int, /) -> None:
            super().ready(events)
            raise ArithmeticError

    failing, good = Failing(poller), Watched(poller)
    for watched in (failing, good):
        watched.watch(READABLE)
    for _ in range(2):
        failing.watch(READABLE)
        failing.peer.send(b"data")
        await eventually(lambda: len(failing.reported) == len(failures) > 0, "the failure")
        await asyncio.sleep(0.005)  # several pauses
    good.peer.send(b"data")
    await eventually(lambda: good.reported, "the good one is reported")
    failing.close()
    good.close()


async def test_a_call_is_made_when_the_sockets_that_are_ready_are_handled():
    poller = Poller(asyncio.get_running_loop())
    calls: list[int] = []
    made = [Watched(poller) for _ in range(3)]

    class Calling(Watched):
        def ready(self, events: int, /) -> None:
            super().ready(events)
            poller.call_soon(lambda: calls.append(sum(len(one.reported) for one in made)))

    made.append(Calling(poller))
    for one in made:
        one.peer.send(b"data")
    for one in made:
        one.watch(READABLE)
    await eventually(lambda: calls, "the call")
    assert calls == [4]
    for one in made:
        one.close()


@pytest.mark.parametrize("kind", [Poller, LoopPoller])
async def test_a_call_that_no_socket_has_led_to_is_made_in_the_next_iteration(kind: type[Poller]):
    calls: list[int] = []
    kind(asyncio.get_running_loop()).call_soon(lambda: calls.append(1))
    await asyncio.sleep(0)
    assert calls == [1]
