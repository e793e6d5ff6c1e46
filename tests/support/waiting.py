"""Waiting on conditions, always with a deadline."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], Any], what: str, deadline_seconds: float = 20.0) -> Any:
    """The first true value of the condition. Fails the test when the deadline passes."""
    deadline = time.monotonic() + deadline_seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {deadline_seconds} s"
        time.sleep(POLL_SECONDS)  # a poll with a deadline


async def eventually(condition: Callable[[], Any | Awaitable[Any]], what: str, deadline_seconds: float = 20.0) -> Any:
    """Wait as `wait_until` does, in coroutines. The condition may be a coroutine too."""
    deadline = time.monotonic() + deadline_seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {deadline_seconds} s"
        await asyncio.sleep(POLL_SECONDS)


def http_get(url: str, timeout_seconds: float = 5.0) -> tuple[int, str]:
    """Status and body; status 0 when nobody answers."""
    try:
        with urlopen(url, timeout=timeout_seconds) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except (URLError, OSError) as error:
        return 0, str(error)
