"""Names that people give their rooms on the page, and the rooms that they were in."""

import re

from playwright.async_api import expect

from tests.support.browser import Person, Visitors, with_chromium
from tests.support.layout import needs_axe, violations
from tests.support.processes import EmbeddedStack

pytestmark = with_chromium


async def rename(person: Person, name: str) -> None:
    await person.page.get_by_role("button", name="Settings").click()
    await person.page.get_by_label("Name of this room").fill(name)
    await person.page.keyboard.press("Enter")


def heading(person: Person, name: str):
    return person.page.get_by_role("heading", level=1, name=name, exact=True)


@needs_axe
async def test_a_name_is_for_everyone_in_the_room_and_in_its_link_and_stays_when_its_author_has_left(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    here, there = stack.gateways
    ada = await visitors.enter(here, room, "Ada")
    grace = await visitors.enter(there, room, "Grace")
    await expect(ada.people).to_have_count(2)
    name = "Maths / Tuesdays <b>"
    await rename(ada, name)
    for person in (ada, grace):
        await expect(heading(person, name)).to_be_visible()
        await expect(person.page).to_have_title(re.compile(re.escape(name)))
    link = await grace.page.get_by_label("Link to this room").input_value()

    await ada.page.get_by_role("button", name="Leave").click()
    await expect(heading(ada, name)).to_be_visible()
    await expect(grace.people).to_have_count(1)
    plain = await visitors.enter(here, room, "Plain")  # the link that has no name
    await expect(heading(plain, name)).to_be_visible()

    invited = await visitors.open(there, "")
    await invited.page.goto(link)
    await expect(heading(invited, name)).to_be_visible()
    await rename(grace, "Algebra")
    await invited.enter("Invited")
    await expect(heading(invited, "Algebra")).to_be_visible()
    assert "Algebra" in invited.page.url

    await invited.page.goto(there.replace("ws://", "http://").removesuffix("/ws"))
    await invited.page.get_by_role("navigation", name="Your rooms").wait_for()
    assert await violations(invited.page) == []


async def test_the_rooms_that_somebody_was_in_are_offered_at_the_entrance_and_not_to_the_next_person(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    await rename(ada, "Algebra")
    await expect(heading(ada, "Algebra")).to_be_visible()
    second = Person(await ada.page.context.new_page())
    await second.page.goto(ada.page.url.split("#")[0])
    rooms = second.page.get_by_role("navigation", name="Your rooms").get_by_role("link")
    await expect(rooms).to_have_text(["Algebra"])

    await rooms.click()
    await expect(heading(second, "Algebra")).to_be_visible()
    await expect(second.page.get_by_text("Ada").or_(second.page.get_by_text("You are here already"))).to_be_visible()
    await second.page.goto(ada.page.url.split("#")[0])
    await second.page.reload()
    await expect(rooms).to_have_text(["Algebra"])
    await second.page.get_by_role("button", name="I am someone else").click()
    await expect(rooms).to_have_count(0)


async def test_a_person_takes_another_name_in_the_room_and_so_do_their_other_tabs(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    here, there = stack.gateways
    ada = await visitors.enter(here, room, "Ada")
    grace = await visitors.enter(there, room, "Grace")
    await expect(grace.people).to_have_count(2)
    tab = Person(await ada.page.context.new_page())
    await tab.page.goto(ada.page.url)
    await tab.page.get_by_role("button", name="Enter the room").click()
    await expect(tab.people).to_have_count(2)
    for person, name in ((ada, "Ada Lovelace"), (tab, "Countess")):
        await person.page.get_by_role("button", name="Settings").click()
        await person.page.get_by_label("Your name").fill(name)
        await person.page.get_by_role("button", name="Change name").click()
        for other in (ada, tab, grace):
            await expect(other.people.filter(has_text=name)).to_have_count(1)
    await expect(grace.people).to_have_count(2)
