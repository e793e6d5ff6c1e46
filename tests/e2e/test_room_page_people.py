"""People on the page: before they enter, in several tabs, and away from the board."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Locator, Route, expect

from tests.support.browser import Person, Visitors, with_chromium
from tests.support.layout import needs_axe, violations
from tests.support.processes import EmbeddedStack

pytestmark = with_chromium

HIDE = """(hidden) => {
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => hidden ? "hidden" : "visible" })
  document.dispatchEvent(new Event("visibilitychange"))
}"""


def arrows(person: Person) -> Locator:
    """The arrows have no size, and their labels are visible with them."""
    return person.cursors.locator("span")


async def second_tab(person: Person) -> Person:
    """In the same browser, at the same address."""
    second = Person(await person.page.context.new_page())
    await second.page.goto(person.page.url)
    return second


# --- before entering ---------------------------------------------------------------------------------------------


@needs_axe
async def test_the_page_says_that_nobody_is_here_only_when_it_knows(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.open(stack.gateways[0], "")
    asked, answered = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        asked.set()
        await answered.wait()
        await route.continue_()

    await ada.page.route("**/roster", late)
    await ada.page.goto(f"{ada.page.url.partition('#')[0]}#{room}")
    await ada.page.reload()
    await asked.wait()
    await expect(ada.page.get_by_text("Checking who is here…")).to_be_visible()
    await expect(ada.page.get_by_text("Nobody is here yet.")).to_have_count(0)
    assert await violations(ada.page) == []
    answered.set()

    await expect(ada.page.get_by_text("Nobody is here yet.")).to_be_visible()


async def test_the_page_claims_nothing_when_the_server_does_not_answer(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.open(stack.gateways[0], room)
    await ada.page.route("**/roster", lambda route: route.fulfill(status=503))
    await ada.page.reload()

    await expect(ada.page.get_by_text("You will see who is here once you are in.")).to_be_visible()


@needs_axe
@pytest.mark.parametrize("name", ["", "   ", "\u200b\u2060", "\u3164"])
async def test_a_name_that_nobody_can_see_is_refused_with_a_reason(
    name: str, visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.open(stack.gateways[0], room)
    field = ada.page.get_by_label("Your name")
    await field.fill(name)
    await ada.page.get_by_role("button", name="Enter the room").click()

    fault = ada.page.get_by_role("alert")
    await expect(fault).to_have_text("Enter a name that the others can see.")
    await expect(field).to_be_focused()
    await expect(field).to_have_accessible_description("Enter a name that the others can see.")
    assert await violations(ada.page) == []
    await ada.enter("Ada")


async def test_a_name_that_is_too_long_is_not_cut(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.open(stack.gateways[0], room)
    field = ada.page.get_by_label("Your name")
    await field.fill("Ada " * 20)
    await ada.page.get_by_role("button", name="Enter the room").click()

    await expect(ada.page.get_by_role("alert")).to_contain_text("at most 60 characters, and this has 79")
    await expect(field).to_have_value("Ada " * 20)


# --- cursors of people who look elsewhere ------------------------------------------------------------------------


async def test_a_cursor_goes_when_its_pointer_leaves_the_board_and_comes_back_with_it(pair: tuple[Person, Person]):
    ada, grace = pair
    await ada.point(0.5, 0.5)
    await expect(arrows(grace)).to_be_visible()

    await ada.log.hover()
    await expect(arrows(grace)).to_be_hidden()

    await ada.point(0.4, 0.5)
    await expect(arrows(grace)).to_be_visible()
    await grace.sees_cursor_at(grace.cursors, 0.4, 0.5)


async def test_a_cursor_goes_when_its_tab_is_hidden(pair: tuple[Person, Person]):
    ada, grace = pair
    await ada.point(0.5, 0.5)
    await expect(arrows(grace)).to_be_visible()

    await ada.page.evaluate(HIDE, True)

    await expect(arrows(grace)).to_be_hidden()


async def test_a_newcomer_does_not_see_the_cursor_of_somebody_who_left_the_board(
    pair: tuple[Person, Person], visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada, grace = pair
    await ada.point(0.5, 0.5)
    await ada.log.hover()
    await expect(arrows(grace)).to_be_hidden()

    late = await visitors.enter(stack.gateways[0], room, "Late")
    await expect(late.cursors).to_have_count(1)
    await expect(arrows(late)).to_be_hidden()


async def test_a_cursor_that_rests_goes_after_a_while_and_comes_back_when_it_moves(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    grace = await visitors.open(stack.gateways[1], room)
    await grace.page.clock.install()
    await grace.enter("Grace")
    await ada.point(0.5, 0.5)
    await expect(arrows(grace)).to_be_visible()

    await grace.page.clock.fast_forward(9_000)
    await expect(arrows(grace)).to_be_hidden()

    await ada.point(0.6, 0.5)
    await expect(arrows(grace)).to_be_visible()


async def test_somebody_who_sits_in_a_place_is_seen_there_for_as_long_as_they_sit(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    grace = await visitors.open(stack.gateways[1], room)
    await grace.page.clock.install()
    await grace.enter("Grace")
    await ada.board.get_by_role("button", name="Deep focus").press("Enter")
    await expect(grace.people.filter(has_text="Ada")).to_contain_text("Deep focus")
    await ada.page.evaluate(HIDE, True)

    await grace.page.clock.fast_forward(3_600_000)
    await expect(grace.state).to_have_text("Connected")
    await expect(arrows(grace)).to_be_visible()
    await expect(grace.people.filter(has_text="Ada")).to_contain_text("Deep focus")

    await ada.board.get_by_role("button", name="Deep focus").press("Enter")
    await expect(arrows(grace)).to_be_hidden()
    await expect(grace.people.filter(has_text="Ada")).not_to_contain_text("Deep focus")


# --- several tabs ------------------------------------------------------------------------------------------------


@needs_axe
async def test_a_second_tab_is_the_same_person_and_both_show_it(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    await expect(ada.names).to_have_text(["Ada (you)", "Grace"])

    second = await second_tab(ada)
    await expect(second.page.get_by_label("Your name")).to_have_value("Ada")
    await expect(second.page.get_by_text("Grace is here.")).to_be_visible()
    await second.page.get_by_role("button", name="Enter the room").click()
    for tab in (ada, second):
        await expect(tab.names).to_have_text(["Ada (you, also in another tab)", "Grace"])
        assert await violations(tab.page) == []
    await expect(grace.names).to_have_text(["Grace (you)", "Ada"])

    await second.send_chat("from the second tab")
    await expect(ada.messages).to_have_text(["from the second tab"])
    await expect(ada.authors).to_have_text(["You"])

    await second.page.close()
    await expect(ada.names).to_have_text(["Ada (you)", "Grace"])
    await expect(grace.names).to_have_text(["Grace (you)", "Ada"])


async def test_a_tab_that_is_closed_and_opened_again_is_the_same_person(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    await ada.send_chat("before")
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(1)

    again = Person(await ada.page.context.new_page())
    address: Any = ada.page.url
    await ada.page.close()
    await again.page.goto(address)
    await again.enter("Ada")

    await expect(again.authors).to_have_text(["You"])
    await expect(again.names).to_have_text(["Ada (you)"])


@needs_axe
async def test_two_people_can_share_a_browser(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    grace = await second_tab(ada)
    await grace.page.get_by_role("button", name="I am someone else").click()
    await expect(grace.page.get_by_label("Your name")).to_have_value("")
    assert await violations(grace.page) == []
    await grace.enter("Grace")

    await expect(ada.names).to_have_text(["Ada (you)", "Grace"])
    await expect(grace.names).to_have_text(["Grace (you)", "Ada"])
    for person, names in ((ada, ["Ada (you)", "Grace"]), (grace, ["Grace (you)", "Ada"])):
        await person.page.reload()
        await expect(person.state).to_have_text("Connected")
        await expect(person.people).to_have_count(2)
        assert sorted(await person.names.all_inner_texts()) == sorted(names)
