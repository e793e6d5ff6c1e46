"""A subscription that NATS has, or will have when it is back."""

import nats.errors
from nats.aio.subscription import Subscription as NatsSubscription

from studyroom.shared.chassis.nats.client import NatsClient


class Subscription:
    def __init__(self, client: NatsClient, vendor: NatsSubscription) -> None:
        self._client = client
        self._vendor = vendor

    async def unsubscribe(self) -> None:
        try:
            await self._vendor.unsubscribe()
        except nats.errors.Error:
            # The connection is closed or draining: there is nothing left to unsubscribe from.
            return

    def forget(self) -> None:
        """NATS has refused it, so there is nothing to unsubscribe from."""
        self._client.forget(self._vendor)

    async def drain(self) -> None:
        """Take no more messages and wait until those already received are handled."""
        try:
            await self._vendor.drain()  # type: ignore[no-untyped-call] # the vendor's
        except nats.errors.Error:
            return
