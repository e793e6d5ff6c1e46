"""Waiting for `studyroom.client`, with a deadline."""

import asyncio

from studyroom.client import Backoff, Client, Event, Subscription

DEADLINE_SECONDS = 30.0
SOON = Backoff(0.05, 0.3)


async def within_deadline(client: Client, condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await client.until(condition)


async def of_kind(events: Subscription, kind: type[Event]) -> Event:
    """The next event of this kind."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__} came before the end")
