"""Graceful drain: closes connections at a steady pace and asks their clients to reconnect elsewhere.

The members of a room go one after another, and small rooms go first, so that few rooms are on two gateways at a time.
"""

import asyncio
import math
import random
import time

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.lifecycle.balance import small_rooms_first
from studyroom.gateway.lifecycle.settings import LifecycleSettings
from studyroom.shared.contract.close_codes import CloseCode, reconnect_hint
from studyroom.shared.contract.ids import RoomId

_STEP_SECONDS = 0.05
_ABORT_SECONDS = 1.0
_SPREAD_FROM_CONNECTIONS = 100
"""With fewer connections the drain closes all at once, because the other gateways can take them together."""


class Drain:
    def __init__(self, settings: LifecycleSettings, connections: Registry[Connection]) -> None:
        self._settings = settings
        self._connections = connections
        self.active = False

    @property
    def remaining(self) -> int:
        return len(self._connections) if self.active else 0

    async def close_all(self) -> None:
        """Close every connection. Returns when their sockets have ended, and aborts those that outlast the timeout."""
        groups = small_rooms_first(self._connections)
        remaining = [connection for group in reversed(groups) for connection in group]
        spread = self._settings.drain_spread_seconds if len(remaining) >= _SPREAD_FROM_CONNECTIONS else 0.0
        began = time.monotonic()
        total = len(remaining)
        while remaining:
            elapsed = time.monotonic() - began
            share = min(1.0, (elapsed + _STEP_SECONDS) / spread) if spread else 1.0
            count = max(1, round(share * total) - (total - len(remaining)))
            for connection in remaining[-count:]:
                self.ask_to_leave(connection)
            del remaining[-count:]
            if remaining:
                await asyncio.sleep(_STEP_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        await self._wait_closed(time.monotonic() + self._settings.close_timeout_seconds)

    def ask_to_leave(self, connection: Connection, room_hint: RoomId | None = None) -> None:
        """Close the connection with 1012 and a hint to reconnect after a random time.

        `room_hint`: for the address of the next connection; None for the one that the client sends anyway.
        """
        wait_ms = random.randint(0, self._settings.reconnect_spread_ms)  # noqa: S311 - jitter
        connection.keep_seconds = math.ceil(wait_ms / 1000) + self._settings.reconnect_allowance_seconds
        connection.close(CloseCode.SERVICE_RESTART, reconnect_hint(wait_ms, room_hint))

    async def _wait_closed(self, deadline: float) -> None:
        while self._connections and time.monotonic() < deadline:
            await asyncio.sleep(_STEP_SECONDS)
        for connection in list(self._connections):
            connection.abort()
        # An aborted socket ends in a later iteration of the event loop, and only then is its connection removed.
        deadline = time.monotonic() + _ABORT_SECONDS
        while self._connections and time.monotonic() < deadline:
            await asyncio.sleep(_STEP_SECONDS)
