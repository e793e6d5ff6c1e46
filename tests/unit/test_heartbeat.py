"""The sweep over all connections goes on when something is wrong with any of them."""

import asyncio
import math
import time
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from studyroom.gateway.connections import heartbeat
from studyroom.gateway.connections.heartbeat import Heartbeat
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.settings import GatewaySettings
from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets, UnreadAnswers
from studyroom.shared.contract.close_codes import CloseCode
from tests.support.waiting import eventually


class Connection:
    """A connection, as far as a heartbeat looks at it."""

    closing_since = lagging_since = None
    lagging = False
    expires_at = math.inf
    active_beat = 1_000_000
    silent_beats = held_beats = 0
    held = False

    def __init__(self, broken: bool) -> None:
        self._broken = broken
        self.refills = 0
        self.closed_with: list[CloseCode] = []

    @staticmethod
    def rests(_beat: int, _now: float) -> bool:
        return False

    def refill(self, _beat: int, _now: float) -> None:
        if self._broken:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        self.refills += 1

    def close(self, code: CloseCode, _reason: str) -> None:
        self.closed_with.append(code)


async def test_a_connection_that_fails_its_check_is_closed_and_the_others_keep_their_beat(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(heartbeat, "SWEEP_SECONDS", 0.01)
    connections: Any = [Connection(broken=False), Connection(broken=True), Connection(broken=False)]
    beating = Heartbeat(
        GatewaySettings(),
        connections,
        AwaitedRequests(10),
        UnreadAnswers(10, max_bytes=1000),
        PlainSockets(10, lambda _peer: None),
        GatewayMetrics(CollectorRegistry()),
    )
    running = asyncio.ensure_future(beating.run())
    await eventually(lambda: running.done() or connections[2].refills >= 2, "the last connection is checked again")
    assert not running.done()
    running.cancel()
    assert connections[1].closed_with[0] == CloseCode.INTERNAL_ERROR
    assert connections[0].closed_with == connections[2].closed_with == []


class Slow(Connection):
    lagging = True

    def __init__(self, unread: int) -> None:
        super().__init__(broken=False)
        self.socket = SimpleNamespace(buffered_bytes=unread)

    def close_slow(self, _reason: str) -> None:
        self.closed_with.append(CloseCode.SLOW_CONSUMER)

    def abort(self) -> None:
        self.socket.buffered_bytes = 0


async def test_the_connection_that_leaves_most_unread_is_closed_before_the_next_beat():
    settings = GatewaySettings(write_buffers_max_bytes=1024 * 1024)
    connections: Any = [Slow(300_000), Slow(600_000), Slow(200_000)]
    beating = Heartbeat(
        settings,
        connections,
        AwaitedRequests(10),
        UnreadAnswers(10, max_bytes=1000),
        PlainSockets(10, lambda _peer: None),
        GatewayMetrics(CollectorRegistry()),
    )
    beating.more_unread(200_000)
    await asyncio.sleep(0)
    assert not any(connection.closed_with for connection in connections)
    beating.more_unread(100_000)
    beating.more_unread(100_000)
    await asyncio.sleep(0)
    assert [bool(connection.closed_with) for connection in connections] == [False, True, False]


class Waiting:
    """A socket that owes a request."""

    def __init__(self, aborted: list[bool]) -> None:
        self.transport = SimpleNamespace(abort=lambda: aborted.append(True))


async def test_data_that_came_while_the_process_stood_still_is_not_late_before_it_could_be_read(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(heartbeat, "SWEEP_SECONDS", 0.05)
    aborted: list[bool] = []
    awaited = AwaitedRequests(0.1)
    beating = Heartbeat(
        GatewaySettings(),
        Registry(),
        awaited,
        UnreadAnswers(10, max_bytes=1000),
        PlainSockets(10, lambda _peer: None),
        GatewayMetrics(CollectorRegistry()),
    )
    running = asyncio.ensure_future(beating.run())
    await asyncio.sleep(0)
    waiting: Any = Waiting(aborted)
    awaited.add(waiting)
    time.sleep(0.3)  # noqa: ASYNC251 - the loop stands still
    while beating.beat == 0:
        await asyncio.sleep(0)
    assert aborted == []
    await eventually(lambda: aborted, "it is late all the same, when it does not come then")
    running.cancel()
