"""Browsers for the tests of the page, and a way to a gateway for the tests of the Python client."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.browser import PHONE, Person, Visitors, chromium
from tests.support.processes import EmbeddedStack
from tests.support.proxy import Link, Network


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


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.close()


@pytest.fixture
def way(stack: EmbeddedStack, network: Network) -> Link:
    """A way to the first gateway that a test can cut."""
    return network.link(urlsplit(stack.gateways[0]).port or 0)
