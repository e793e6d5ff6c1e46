"""Browsers for the tests of the page. The other tests here use none of it."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.support.browser import CHROMIUM, CHROMIUM_ARGUMENTS, PHONE, Person, Visitors
from tests.support.processes import EmbeddedStack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        try:
            yield running
        finally:
            await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def visitors(browser: Browser) -> AsyncIterator[Visitors]:
    opened = Visitors(browser)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def pair(visitors: Visitors, stack: EmbeddedStack, room: str) -> tuple[Person, Person]:
    """Ada at a laptop and Grace on a phone, in one room on two gateways."""
    ada = await visitors.open(stack.gateways[0], room)
    grace = await visitors.open(stack.gateways[1], room, viewport=PHONE)
    await ada.enter("Ada")
    await grace.enter("Grace")
    for person in (ada, grace):
        await expect(person.people).to_have_count(2)
    return ada, grace
