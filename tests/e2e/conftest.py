"""Browsers for the tests of the page. The other tests here use none of it."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.browser import PHONE, Person, Visitors, chromium
from tests.support.processes import EmbeddedStack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def visitors(browser: Browser) -> AsyncIterator[Visitors]:
    opened = Visitors(browser)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def pair(visitors: Visitors, stack: EmbeddedStack, room: str) -> tuple[Person, Person]:
    """Ada at a laptop and Grace on a phone, in one room on two gateways."""
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    grace = await visitors.enter(stack.gateways[1], room, "Grace", viewport=PHONE)
    for person in (ada, grace):
        await expect(person.people).to_have_count(2)
    return ada, grace
