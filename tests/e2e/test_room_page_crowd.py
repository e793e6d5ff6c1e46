"""The page in a room of a dozen people who sit, raise hands, write and react."""

from playwright.async_api import expect

from tests.support.browser import Visitors, line_of, with_chromium
from tests.support.crowd import TEXTS, crowd
from tests.support.layout import looks_right, needs_axe, violations
from tests.support.processes import EmbeddedStack

pytestmark = with_chromium


@needs_axe
async def test_a_dozen_people_have_faces_where_they_sit_and_nothing_is_covered(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    async with crowd(stack.gateways, room, 11):
        ada = await visitors.enter(stack.gateways[0], room, "Ada")
        await expect(ada.people).to_have_count(12)
        reactions = line_of(ada, TEXTS[1]).first.get_by_role("group", name="Reactions").get_by_role("button")
        await expect(reactions).to_have_count(2)
        await expect(reactions.filter(has_text="🎉")).to_contain_text("6")
        await expect(ada.people.get_by_role("img", name="hand raised")).to_have_count(3)
        focus = ada.board.get_by_role("button", name="Deep focus")
        await expect(focus.locator(".avatar")).to_have_count(6)
        await expect(focus).to_contain_text("6 people")

        await focus.press("Enter")
        await expect(focus.locator(".avatar")).to_have_count(7)
        await expect(focus.locator(".avatar").first).to_have_text("A")
        await looks_right(ada.page, "a dozen people")
        assert await violations(ada.page) == []
        await focus.press("Enter")
        await expect(focus.locator(".avatar")).to_have_count(6)
