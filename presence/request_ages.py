"""Decides which requests are young enough to carry out and to answer.

NATS accepts an answer only on the connection that delivered the request, and only for 10 s (`allow_responses` in
deploy/nats/accounts.conf). A request does not show its age: while this process is frozen or the network stalls,
requests wait in a socket. But NATS answers a ping in order with everything else that it sends. So NATS has delivered a
request that is read after the answer to a ping later than that ping was sent.
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
"""Presence does not answer a request that may be older. An answer has 3 s more to reach NATS, and a connection on which
nothing gets through has been closed by then."""


class Arrival(NamedTuple):
    """When a request arrived, and on which connection."""

    connection: int
    after: float
    """NATS delivered the request after this time (monotonic seconds)."""


class RequestAges:
    """The greatest possible age of each request. Pure; times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        """Create it before the first subscription, or ages come out too low."""
        self._connection = 0
        self._after = now

    @property
    def connection(self) -> int:
        return self._connection

    def arrival(self) -> Arrival:
        """Return the arrival of the request that is being read."""
        return Arrival(self._connection, self._after)

    def disconnected(self, now: float) -> None:
        self._connection += 1
        self._after = now

    def ping_answered(self, connection: int, asked_at: float) -> None:
        """Record that NATS has answered a ping sent at `asked_at` on this connection."""
        if connection == self._connection:
            self._after = max(self._after, asked_at)

    def is_within(self, seconds: float, arrival: Arrival, now: float) -> bool:
        """Return whether the request is on the present connection and not older than `seconds`."""
        return arrival.connection == self._connection and now - arrival.after <= seconds


class Pings:
    """Pings NATS once a second for `request_ages`."""

    def __init__(self, bus: Bus, request_ages: RequestAges) -> None:
        self._bus = bus
        self._request_ages = request_ages
        self._now = asyncio.Event()
        bus.on_disconnected(lambda: request_ages.disconnected(time.monotonic()))
        bus.on_reconnected(self._on_reconnected)

    async def keep(self) -> None:
        """Ping until cancelled."""
        while True:
            self._now.clear()
            asked_at, connection = time.monotonic(), self._request_ages.connection
            try:
                await self._bus.flush()
            except BusError as error:
                log.debug("NATS did not answer a ping", error=str(error))
            else:
                self._request_ages.ping_answered(connection, asked_at)
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._now.wait()
            except TimeoutError:
                continue

    async def _on_reconnected(self) -> None:
        self._now.set()
