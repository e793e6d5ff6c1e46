"""Graceful drain: asks the clients of all connections to go elsewhere, at a steady pace.

The members of a room go one after another, and small rooms go first, so that few rooms are on two gateways at a time.
"""

import asyncio
import random
import time

from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.registry import Registry
from studyroom.gateway.lifecycle.balance import small_rooms_first
from studyroom.gateway.lifecycle.moving import Moves
from studyroom.gateway.lifecycle.settings import LifecycleSettings

_STEP_SECONDS = 0.05
_ABORT_SECONDS = 1.0
_SPREAD_FROM_CONNECTIONS = 100
"""With fewer connections the drain closes all at once, because the other gateways can take them together."""


class Drain:
    def __init__(self, settings: LifecycleSettings, connections: Registry[Connection], moves: Moves) -> None:
        self._settings = settings
        self._connections = connections
        self._moves = moves
        self.active = False

    @property
    def remaining(self) -> int:
        return len(self._connections) if self.active else 0

    async def close_all(self) -> None:
        """Close every connection, those that move when they have moved or their time is over.

        Returns when their sockets have ended, and aborts those that outlast the timeout.
        """
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
                self._moves.ask_to_move(connection)
            del remaining[-count:]
            if remaining:
                await asyncio.sleep(_STEP_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        await self._wait_closed()

    async def _wait_closed(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = self._moves.deadline + self._settings.close_timeout_seconds
        while self._connections and loop.time() < deadline:
            await asyncio.sleep(_STEP_SECONDS)
        for connection in list(self._connections):
            connection.abort()
        # An aborted socket ends in a later iteration of the event loop, and only then is its connection removed.
        deadline = time.monotonic() + _ABORT_SECONDS
        while self._connections and time.monotonic() < deadline:
            await asyncio.sleep(_STEP_SECONDS)
