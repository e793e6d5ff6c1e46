"""The requests that a service receives over NATS, from its subscriptions until it drains."""

import asyncio
from collections.abc import Coroutine, Iterable

from studyroom.shared.chassis import logs
from studyroom.shared.chassis.nats.bus import Bus, BusError, Handler, Subscription
from studyroom.shared.chassis.tasks import Tasks

log = logs.get(__name__)

_RETRY_SECONDS = 0.2


class Requests:
    def __init__(self, bus: Bus, tasks: Tasks) -> None:
        self._bus = bus
        self._tasks = tasks
        self._subscriptions: list[Subscription] = []
        self._working: set[asyncio.Task[None]] = set()

    async def listen(self, subjects: Iterable[str], handler: Handler, *, queue: str = "") -> None:
        """Subscribe. Raises SubscriptionRefused."""
        for subject in subjects:
            self._subscriptions.append(await self._bus.subscribe(subject, handler, queue=queue))

    async def subscribed(self) -> None:
        """Return when NATS has all subscriptions."""
        while True:
            try:
                await self._bus.flush()
            except BusError as error:
                log.info("waiting for NATS", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    def begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Carry out a request, which `drain` waits for. `name`: of its task."""
        task = self._tasks.spawn(name, work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def drain(self) -> None:
        """Stop receiving requests, and finish those that are under way."""
        await asyncio.gather(*(subscription.drain() for subscription in self._subscriptions))
        if self._working:
            await asyncio.wait(self._working)
        try:
            await self._bus.flush()
        except BusError as error:
            log.warning("last answers may not have been sent", error=str(error))
