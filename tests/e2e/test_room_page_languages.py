"""The page in another language."""

from playwright.async_api import expect

from tests.support.browser import PHONE, Person, Visitors, chromium, page_address, with_chromium
from tests.support.layout import layout_faults, needs_axe, violations
from tests.support.processes import EmbeddedStack

pytestmark = with_chromium


@needs_axe
async def test_the_page_speaks_the_language_of_the_browser_until_the_user_chooses_another(
    stack: EmbeddedStack, room: str
):
    async with chromium() as browser:
        context = await browser.new_context(locale="de-AT", viewport=PHONE)
        ada = Person(await context.new_page())
        await ada.page.goto(page_address(stack.gateways[0], room))
        await ada.page.get_by_label("Dein Name").fill("Ada")
        await ada.page.get_by_role("button", name="Den Raum betreten").click()
        await expect(ada.state).to_have_text("Verbunden")
        await expect(ada.page.get_by_role("heading", name="1 Person")).to_be_visible()
        await expect(ada.page.locator("html")).to_have_attribute("lang", "de")
        for width, height in ((320, 568), (568, 320), (390, 844), (1100, 700)):
            await ada.page.set_viewport_size({"width": width, "height": height})
            assert await layout_faults(ada.page) == []
        assert await violations(ada.page) == []

        await ada.page.get_by_role("button", name="Einstellungen").click()
        await ada.page.get_by_label("Sprache").select_option("English")
        await expect(ada.page.get_by_role("dialog", name="Settings")).to_be_visible()
        await ada.page.reload()
        await expect(ada.state).to_have_text("Connected")
        assert ada.troubles == []


async def test_a_browser_in_english_loads_no_other_language(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    loaded = """performance.getEntriesByType("resource").map(({ name }) => name.split("/").at(-1))"""
    assert [name for name in await ada.page.evaluate(loaded) if name.startswith("de-")] == []
