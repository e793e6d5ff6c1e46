"""Asks clients to go to another gateway.

A client that knows `Moving` opens the next connection first, joins there, and then closes this one. So its user is
never without a connection. Every other client gets a close with 1012, and so does one that has not gone in time.
"""

import asyncio
import math
import random

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.lifecycle.settings import LifecycleSettings
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.wire.framing import text_frame
from studyroom.shared.contract.close_codes import CloseCode, reconnect_hint
from studyroom.shared.contract.ids import RoomId
from studyroom.shared.contract.messages import encode
from studyroom.shared.contract.moving import Moving, MovingPayload


class Moves:
    """Times are seconds on the clock of the event loop."""

    def __init__(self, settings: LifecycleSettings, metrics: GatewayMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        metrics.traffic.replies_sent["Moving"] += 0  # so that there is a sample before the first one
        self._asked: dict[Connection, tuple[float, RoomId | None]] = {}
        """The connections whose clients were asked to move, with the deadline and the hint, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._asked

    def __len__(self) -> int:
        """The number of connections that are about to go and still open."""
        return sum(connection.is_member for connection in self._asked)

    @property
    def deadline(self) -> float:
        """The time at which the last of them is closed; the present time if there are none."""
        last = [until for connection, (until, _) in self._asked.items() if connection.is_member][-1:]
        return max([asyncio.get_running_loop().time(), *last])

    def ask_to_move(self, connection: Connection, room_hint: RoomId | None = None) -> None:
        """Let the client connect again. A second call changes nothing for a client that moves already.

        `room_hint`: for the address of the next connection; None for the one that the client sends anyway.
        """
        within_ms = self._settings.move_within_ms
        if not within_ms or not connection.moves:
            self.ask_to_leave(connection, room_hint)
        elif connection not in self._asked:
            connection.deliver(_frame(within_ms, room_hint))
            self._metrics.traffic.replies_sent["Moving"] += 1
            self._asked[connection] = (asyncio.get_running_loop().time() + within_ms / 1000, room_hint)
            self._wait()

    def ask_to_leave(self, connection: Connection, room_hint: RoomId | None = None) -> None:
        """Close the connection with 1012 and a hint to reconnect after a random time. `room_hint`: as above."""
        wait_ms = random.randint(0, self._settings.reconnect_spread_ms)  # noqa: S311 - jitter
        connection.keep_seconds = math.ceil(wait_ms / 1000) + self._settings.reconnect_allowance_seconds
        connection.close(CloseCode.SERVICE_RESTART, reconnect_hint(wait_ms, room_hint))

    def _wait(self) -> None:
        if self._timer is None and self._asked:
            until, _ = next(iter(self._asked.values()))
            self._timer = asyncio.get_running_loop().call_at(until, self._close_late)

    def _close_late(self) -> None:
        """Close the connections whose time is over."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        due = [(connection, hint) for connection, (until, hint) in self._asked.items() if until <= now]
        for connection, hint in due:
            del self._asked[connection]
            if connection.is_member:
                self._metrics.moves_late.inc()
                self.ask_to_leave(connection, hint)
        self._wait()


def _frame(within_ms: int, room_hint: RoomId | None) -> bytes:
    payload = MovingPayload.model_construct(within_ms=within_ms, room=room_hint)
    return text_frame(encode(Moving.model_construct(payload=payload)))
