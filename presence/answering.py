"""Which requests may still be carried out and answered.

NATS takes an answer only on the connection on which it has delivered the request, and for 10 s (`allow_responses` in
deploy/nats/accounts.conf). How long ago that was cannot be seen from the request: while this process is frozen, or the
network holds everything back, requests wait in a socket. But NATS answers a ping in the order of all that it sends, so
a request that is read after the answer to a ping was delivered after that ping was sent.
"""

import asyncio
import time
from typing import NamedTuple

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError

log = logs.get(__name__)

_PING_SECONDS = 1.0
FRESH_SECONDS = 4.0
"""A request that may be older is not carried out: its gateway has asked again several times since."""
ANSWER_SECONDS = 7.0
"""An answer to a request that may be older is not given. It has 3 s more to get to NATS: by then a connection on which
nothing gets through has been given up."""


class Arrival(NamedTuple):
    """Of a request."""

    connection: int
    after: float
    """NATS delivered it after this (monotonic seconds)."""


class Answering:
    """Which requests are how old, as far as that is known. Pure; times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        """To be made before the first subscription."""
        self._connection = 0
        self._after = now

    @property
    def connection(self) -> int:
        return self._connection

    def arrived(self) -> Arrival:
        """Of the request that is being read."""
        return Arrival(self._connection, self._after)

    def disconnected(self, now: float) -> None:
        self._connection += 1
        self._after = now

    def answered(self, connection: int, asked_at: float) -> None:
        """NATS has answered a ping."""
        if connection == self._connection:
            self._after = max(self._after, asked_at)

    def is_fresh(self, arrival: Arrival, now: float) -> bool:
        """The request is worth carrying out."""
        return arrival.connection == self._connection and now - arrival.after <= FRESH_SECONDS

    def takes(self, arrival: Arrival, now: float) -> bool:
        """NATS still takes an answer to the request."""
        return arrival.connection == self._connection and now - arrival.after <= ANSWER_SECONDS


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
