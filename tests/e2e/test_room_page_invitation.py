"""The link to a room on the page: shared, copied, or shown for copying by hand."""

import pytest
from playwright.async_api import expect

from tests.support.browser import PHONE, Person, Visitors, with_chromium
from tests.support.layout import needs_axe, violations
from tests.support.processes import EmbeddedStack

pytestmark = with_chromium

WITHOUT_SECURE_CONTEXT = """
  Object.defineProperty(navigator, "clipboard", { value: undefined })
  document.execCommand = (command) => { window.asked = [command, String(getSelection())]; return window.allowed }
"""
SHARE = """
  window.shared = []
  navigator.canShare = () => true
  navigator.share = (data) => {
    window.shared.push(data)
    return window.outcome ? Promise.reject(new DOMException("", window.outcome)) : Promise.resolve()
  }
"""
SELECTED = "getSelection().toString()"


def announced(person: Person):
    return person.page.get_by_role("banner").locator(".outcome[aria-live=polite]")


async def test_on_a_phone_without_a_menu_for_sharing_the_page_says_that_the_link_is_copied(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", viewport=PHONE)
    await ada.page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    await ada.page.get_by_role("button", name="Copy link").click()

    await expect(ada.page.get_by_text("Link copied.")).to_be_in_viewport()
    await expect(announced(ada)).to_have_text("Link copied.")
    assert await ada.page.evaluate("navigator.clipboard.readText()") == ada.page.url


async def test_where_there_is_a_menu_for_sharing_it_gets_the_link(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", viewport=PHONE, before=SHARE)

    await ada.page.get_by_role("button", name="Share link").click()
    await expect(announced(ada)).to_have_text("Link shared.")
    assert [data["url"] for data in await ada.page.evaluate("window.shared")] == [ada.page.url]

    await ada.page.evaluate("window.outcome = 'AbortError'")
    await ada.page.get_by_role("button", name="Share link").click()
    await expect(announced(ada)).to_have_text("")


async def test_where_sharing_fails_the_link_is_copied(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", viewport=PHONE, before=SHARE)
    await ada.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await ada.page.evaluate("window.outcome = 'NotAllowedError'")

    await ada.page.get_by_role("button", name="Share link").click()

    await expect(announced(ada)).to_have_text("Link copied.")
    assert await ada.page.evaluate("navigator.clipboard.readText()") == ada.page.url


async def test_without_a_secure_context_the_link_is_copied_in_the_older_way(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", before=WITHOUT_SECURE_CONTEXT)
    await ada.page.evaluate("window.allowed = true")

    await ada.page.get_by_role("button", name="Copy link").click()

    await expect(announced(ada)).to_have_text("Link copied.")
    assert await ada.page.evaluate("window.asked") == ["copy", ada.page.url]


@needs_axe
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1200, "height": 760}], ids=["phone", "laptop"])
async def test_where_nothing_may_copy_the_link_is_shown_selected_until_it_is_closed(
    viewport, visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", viewport=viewport, before=WITHOUT_SECURE_CONTEXT)
    link = ada.page.get_by_label("Link to this room")

    await ada.page.get_by_role("button", name="Copy link").click()

    await expect(announced(ada)).to_contain_text("Copy the link yourself")
    await expect(link).to_be_in_viewport(ratio=1)
    await expect(link).to_be_focused()
    assert await ada.page.evaluate(SELECTED) == ada.page.url
    assert await violations(ada.page) == []
    await ada.page.get_by_role("button", name="Close").click()
    await expect(announced(ada)).to_have_text("")
