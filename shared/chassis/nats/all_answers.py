"""Requests that get several answers: from several services, or from one in several parts."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from studyroom.shared.chassis.nats.bus import Bus, Message


async def all_answers(
    bus: Bus,
    subject: str,
    payload: bytes,
    *,
    is_complete: Callable[[list[Message]], bool],
    first_seconds: float,
    silence_seconds: float,
    inbox: str | None = None,
) -> list[Message]:
    """Return the answers in the order of arrival. Raises SubscriptionRefused.

    `inbox`: the subject for the answers; None for a new inbox.

    It returns when `is_complete` is true for the answers so far. Otherwise it returns when the first answer takes
    longer than `first_seconds`, or the next one longer than `silence_seconds`.
    """
    received: asyncio.Queue[Message] = asyncio.Queue()
    inbox = inbox or bus.new_inbox()
    subscription = await bus.subscribe(inbox, received.put_nowait)
    answers: list[Message] = []
    try:
        bus.publish(subject, payload, reply=inbox)
        with suppress(TimeoutError):
            while not answers or not is_complete(answers):
                async with asyncio.timeout(silence_seconds if answers else first_seconds):
                    answers.append(await received.get())
    finally:
        await subscription.unsubscribe()
    return answers
