"""The page in Firefox: a short form of the tests with Chromium."""

import shutil
from pathlib import Path

import pytest

from tests.support.bidi import firefox
from tests.support.browser import needs_page, page_address
from tests.support.client import clients
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
TO_THE_TOP = "((log) => { log.scrollTop = 0; return log.scrollTop })(document.querySelector('.log'))"
EARLIER = "document.querySelector('.earlier button')?.textContent"
SHOW_EARLIER = "document.querySelector('.earlier button').click()"
LINE_30 = """((log) => {
  const text = [...log.querySelectorAll(".content")].find((text) => text.textContent === "line 30")
  return Math.round(text.getBoundingClientRect().top - log.getBoundingClientRect().top)
})(document.querySelector(".log"))"""
COMPOSE = """((field) => {
  field.focus()
  field.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true }))
  const key = { key: "Enter", keyCode: 229, bubbles: true, cancelable: true }
  return field.dispatchEvent(new KeyboardEvent("keydown", key))
})(document.querySelector(".composer textarea"))"""
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


async def test_in_firefox_the_reader_keeps_their_place_and_an_input_method_its_enter(
    stack: EmbeddedStack, room: str, tmp_path: Path
):
    assert FIREFOX is not None
    async with clients(stack.gateways[1]) as (bob,), firefox(FIREFOX, tmp_path) as browser:
        await bob.join(room)
        for number in range(80):
            await bob.chat(f"line {number}")
            await bob.expect("Chat")
        ada = await browser.tab(page_address(stack.gateways[0], room))
        await ada.type("Ada\n")
        await ada.sees(f"{MESSAGES}.length", 50)
        await ada.sees(TO_THE_TOP, 0)
        await ada.sees(EARLIER, "Show earlier messages")
        before = await ada.run(LINE_30)
        await ada.run(SHOW_EARLIER)
        await ada.sees(f"{MESSAGES}.length", 80)
        assert await ada.run(LINE_30) == pytest.approx(before, abs=2)

        assert await ada.run(COMPOSE) is True  # nothing has taken the key
