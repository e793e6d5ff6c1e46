"""The page with replies, reactions, menus and edits in windows of all sizes, light and dark, in two languages."""

from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.support.browser import Person, Visitors, line_of, with_chromium
from tests.support.client import clients
from tests.support.layout import SIZES, looks_right, needs_axe, violations
from tests.support.processes import EmbeddedStack

pytestmark = with_chromium

CUT = """(part) => {
  const { left, top, right, bottom } = part.getBoundingClientRect()
  const inside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight
  const cut = [part, ...part.querySelectorAll("button")].some((one) => one.scrollWidth > one.clientWidth + 1)
  return { inside, cut }
}"""
NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""The page has handled a new size of the window then."""
WHOLE = {"inside": True, "cut": False}


async def opens_whole(person: Person, button: Locator) -> None:
    """In every size of the window, the menu of this button is inside of the window and not cut, also if it is open when
    the window gets that size."""
    menu = person.page.get_by_role("menu")
    for size in SIZES:
        await person.page.set_viewport_size(size)
        await button.press("Enter")
        await expect(menu).to_be_visible()
        await person.page.evaluate(NEXT_FRAME)
        assert await menu.evaluate(CUT) == WHOLE, size
        await person.page.keyboard.press("Escape")
        await expect(menu).to_have_count(0)
    await button.press("Enter")
    for size in SIZES:
        await person.page.set_viewport_size(size)
        await person.page.evaluate(NEXT_FRAME)
        assert await menu.evaluate(CUT) == WHOLE, size
    await person.page.keyboard.press("Escape")
    await expect(menu).to_have_count(0)


@needs_axe
@pytest.mark.parametrize(("scheme", "language"), [("light", "en"), ("dark", "de")])
async def test_nothing_of_it_is_covered_or_cut_in_any_size(
    scheme: Any, language: str, visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", color_scheme=scheme)
    await ada.page.evaluate("(language) => localStorage.setItem('studyroom.language', language)", language)
    await ada.page.reload()
    async with clients(stack.gateways[1], username="Konstantin-Alexander%20Freiherr") as (bob,):
        await bob.join(room)
        await bob.chat("a question")
        question = await bob.expect("Chat")
        target = {"target_id": question["id"], "target_seq": question["seq"]}
        for reaction in ("👍", "a reaction in words, rather long", "🎉", "👀", "🐢", "❤️"):
            await bob.send("ReactToChat", {**target, "reaction": reaction, "is_on": True})
        await bob.send("EditChat", {**target, "content": "a question with averyveryverylongwordthatfitsnowhere"})
        await bob.send("Chat", {"content": "@Ada look", "reply_to": question["id"]})
        field = ada.page.locator(".composer textarea")
        await field.fill("mine")
        await field.press("Enter")
        await expect(line_of(ada, "@Ada look")).to_be_visible()
        await expect(line_of(ada, "mine")).to_have_attribute("data-state", "sent")
        await expect(line_of(ada, "a question").locator(".edited")).to_have_count(1)
        await ok(ada, "reactions, an edit and a quote")
        assert await ada.log.evaluate("(log) => log.scrollWidth <= log.clientWidth")

        await opens_whole(ada, line_of(ada, "mine").locator(".act"))
        await line_of(ada, "a question").locator(".act").press("Enter")
        assert await violations(ada.page) == []
        await ada.page.get_by_role("menuitem").first.click()
        await ok(ada, "a reply")
        await field.press_sequentially("@kon")
        listed = ada.page.get_by_role("listbox")
        await expect(listed).to_be_visible()
        assert await violations(ada.page) == []
        for size in SIZES:
            await ada.page.set_viewport_size(size)
            assert await listed.evaluate(CUT) == WHOLE, size
        await field.press("Escape")
        await field.press("Escape")

        await field.fill("")
        await field.press("ArrowUp")
        await expect(field).to_have_value("mine")
        await ok(ada, "an edit")
        await field.press("Escape")
        await line_of(ada, "mine").locator(".act").press("Enter")
        await ada.page.get_by_role("menuitem").last.click()
        await expect(ada.page.get_by_role("dialog")).to_be_visible()
        assert await violations(ada.page) == []


async def ok(person: Person, state: str) -> None:
    await looks_right(person.page, state)
    assert await violations(person.page) == []
