"""Which requests presence may still carry out and answer.

NATS accepts an answer only on the connection on which it delivered the request, and for 10 s (`allow_responses` in
deploy/nats/accounts.conf). A request does not say when NATS delivered it: while this process is frozen, or the network
holds everything back, requests wait in a socket. But NATS answers a ping in the order of everything it sends, so it
delivered a request that is read after the answer to a ping after that ping was sent.
"""

import asyncio
import time
from typing import NamedTuple

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError

log = logs.get(__name__)

_PING_SECONDS = 1.0
FRESH_SECONDS = 4.0
"""Presence does not carry out a request that may be older: its gateway has asked again several times since."""
ANSWER_SECONDS = 7.0
"""Presence does not answer a request that may be older. An answer has 3 s more to reach NATS: by then the bus has given
up a connection on which nothing gets through."""


class Arrival(NamedTuple):
    """Of a request."""

    connection: int
    after: float
    """NATS delivered it after this (monotonic seconds)."""


class Answering:
    """How old requests may be. Pure; times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        """Create it before the first subscription."""
        self._connection = 0
        self._after = now

    @property
    def connection(self) -> int:
        return self._connection

    def arrived(self) -> Arrival:
        """The arrival of the request that is being read."""
        return Arrival(self._connection, self._after)

    def disconnected(self, now: float) -> None:
        self._connection += 1
        self._after = now

    def answered(self, connection: int, asked_at: float) -> None:
        """NATS has answered a ping that was sent on this connection, at this time."""
        if connection == self._connection:
            self._after = max(self._after, asked_at)

    def is_within(self, seconds: float, arrival: Arrival, now: float) -> bool:
        """NATS delivered the request on the present connection, at most so long ago."""
        return arrival.connection == self._connection and now - arrival.after <= seconds


class Pings:
    """Keeps `answering` up to date."""

    def __init__(self, bus: Bus, answering: Answering) -> None:
        self._bus = bus
        self._answering = answering
        self._now = asyncio.Event()
        bus.on_disconnected(lambda: answering.disconnected(time.monotonic()))
        bus.on_reconnected(self._on_reconnected)

    async def keep(self) -> None:
        """Never returns."""
        while True:
            self._now.clear()
            asked_at, connection = time.monotonic(), self._answering.connection
            try:
                await self._bus.flush()
            except BusError as error:
                log.debug("NATS did not answer a ping", error=str(error))
            else:
                self._answering.answered(connection, asked_at)
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._now.wait()
            except TimeoutError:
                continue

    async def _on_reconnected(self) -> None:
        self._now.set()
