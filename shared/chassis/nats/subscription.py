"""A subscription on the bus, which survives reconnects."""

import nats.errors
from nats.aio.subscription import Subscription as NatsSubscription

from studyroom.shared.chassis.nats.client import NatsClient


class Subscription:
    __slots__ = ("_client", "_vendor")

    def __init__(self, client: NatsClient, vendor: NatsSubscription) -> None:
        self._client = client
        self._vendor = vendor

    async def unsubscribe(self) -> None:
        try:
            await self._vendor.unsubscribe()
        except nats.errors.Error:
            # The connection is closed or draining, so the subscription has ended.
            return

    def forget(self) -> None:
        """Drop a subscription that NATS has refused, without unsubscribing."""
        self._client.forget(self._vendor)

    async def drain(self) -> None:
        """Unsubscribe, and wait until all received messages are handled."""
        try:
            await self._vendor.drain()  # type: ignore[no-untyped-call] # as in nats-py
        except nats.errors.Error:
            return
