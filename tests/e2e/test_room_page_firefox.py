"""The page in Firefox: the short form of what Chromium is asked."""

import shutil
from pathlib import Path

import pytest

from tests.support.bidi import firefox
from tests.support.browser import needs_page, page_address
from tests.support.processes import EmbeddedStack

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(FIREFOX is None, reason="no Firefox: apt-get install firefox-esr"),
    needs_page,
]

STATE = 'document.querySelector(".connection output")?.textContent'
NAMES = '[...document.querySelectorAll(".people .name")].map((name) => name.textContent)'
MESSAGES = '[...document.querySelectorAll(".log .content")].map((line) => line.textContent)'
SENT = 'document.querySelectorAll(".log [data-state=sent]").length'
TYPING = 'document.querySelector(".typing").textContent'
CURSOR = 'document.querySelector(".cursor")?.textContent'
FOCUSED = "document.activeElement.ariaLabel"
BOARD = '(({ x, y, width, height }) => [x, y, width, height])(document.querySelector(".board").getBoundingClientRect())'


async def test_two_people_in_firefox_chat_point_and_come_back(stack: EmbeddedStack, room: str, tmp_path: Path):
    assert FIREFOX is not None
    async with firefox(FIREFOX, tmp_path) as browser:
        ada = await browser.tab(page_address(stack.gateways[0], room))
        await ada.type("Ada\n")
        await ada.sees(STATE, "Connected")
        grace = await browser.tab(page_address(stack.gateways[1], room))
        await grace.type("Grace\n")
        await ada.sees(NAMES, ["Ada (you)", "Grace"])
        await grace.sees(NAMES, ["Grace (you)", "Ada"])

        await ada.sees(FOCUSED, "Message")
        await ada.type("Hello")
        await grace.sees(TYPING, "Ada is typing…")
        await ada.type(" from Firefox\n")
        for person in (ada, grace):
            await person.sees(MESSAGES, ["Hello from Firefox"])
        x, y, width, height = await grace.run(BOARD)
        await grace.point(round(x + width / 2), round(y + height / 2))
        await ada.sees(CURSOR, "Grace")

        await grace.reload()
        await grace.sees(STATE, "Connected")
        await grace.sees(MESSAGES, ["Hello from Firefox"])
        await grace.sees(FOCUSED, "Message")
        await grace.type("back again\n")
        await grace.sees(SENT, 2)
        await ada.sees(MESSAGES, ["Hello from Firefox", "back again"])
