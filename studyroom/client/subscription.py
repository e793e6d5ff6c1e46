"""The events of a client, as one part of a program takes them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

from studyroom.client.errors import EventsLost
from studyroom.client.events import Event


class Subscription(AsyncIterator[Event]):
    """Gives the events from its creation until the client is closed for good.

    It keeps `limit` events that the program has not taken. If there are more, it drops them all, and the next step
    raises EventsLost.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        self._more = asyncio.Event()
        self._lost = False
        self.closed = False

    def put(self, event: Event) -> None:
        if len(self._events) < self._limit:
            self._events.append(event)
        else:
            self._events.clear()
            self._lost = True
            self.close()
        self._more.set()

    def close(self) -> None:
        """End it. The events that came before are still there."""
        self.closed = True
        self._more.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Cancelling it loses no event. Raises EventsLost."""
        while not self._events:
            if self._lost:
                raise EventsLost(f"{self._limit} events were not taken")
            if self.closed:
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        return self._events.popleft()
