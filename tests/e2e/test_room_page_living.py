"""Edits, deletions, replies, mentions and reactions on the page, between two people on two gateways."""

from pathlib import Path

from playwright.async_api import Locator, expect

from tests.support.browser import Line, Person, Visitors, line_of, with_chromium
from tests.support.client import clients
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually

pytestmark = with_chromium

DISTANCE = """(log, wanted) => {
  const text = [...log.querySelectorAll(".content")].find((text) => text.textContent === wanted)
  return Math.round(text.getBoundingClientRect().top - log.getBoundingClientRect().top)
}"""


def menu_button(person: Person, text: str) -> Locator:
    return line_of(person, text).get_by_role("button", name="Actions for")


async def choose(person: Person, text: str, item: str) -> None:
    """Choose something in the menu of a message."""
    await line_of(person, text).hover()
    await menu_button(person, text).click()
    await person.page.get_by_role("menu").get_by_text(item, exact=True).click()


def reactions(person: Person, text: str) -> Locator:
    return line_of(person, text).get_by_role("group", name="Reactions").get_by_role("button")


async def says(author: Person, text: str, *others: Person) -> None:
    """Write it, and wait until everyone has it stored."""
    await author.send_chat(text)
    for person in (author, *others):
        await expect(line_of(person, text)).to_have_attribute("data-state", "sent")


# --- reactions ---------------------------------------------------------------------------------------------------


async def test_people_react_join_in_and_take_it_back(pair: tuple[Person, Person]):
    ada, grace = pair
    await says(ada, "Break?", grace)

    await choose(grace, "Break?", "👍")
    for person in pair:
        await expect(reactions(person, "Break?")).to_have_text(["👍 1 by Grace"])
    await expect(ada.page.get_by_text("Grace reacted to your message with 👍")).to_have_count(1)

    await reactions(ada, "Break?").click()
    for person in pair:
        await expect(reactions(person, "Break?")).to_have_text(["👍 2 by Grace, Ada"])
    await reactions(ada, "Break?").click()
    await choose(ada, "Break?", "🎉")
    for person in pair:
        await expect(reactions(person, "Break?")).to_have_text(["👍 1 by Grace", "🎉 1 by Ada"])
    await expect(reactions(ada, "Break?").nth(1)).to_have_attribute("aria-pressed", "true")
    await expect(reactions(grace, "Break?").nth(1)).to_have_attribute("aria-pressed", "false")


async def test_a_refused_reaction_is_reported(visitors: Visitors, stack: EmbeddedStack, room: str):
    way = Line()
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=way)
    await says(ada, "Hello")
    way.lost = '"ReactToChat"'
    await choose(ada, "Hello", "👍")
    await eventually(lambda: way.lost_messages, "the reaction")
    way.send_to_page("Error", code="chat_not_found", message="raw", id=way.lost_messages[0]["payload"]["id"])

    await expect(ada.page.get_by_role("alert")).to_have_text("Not changed. It is not there any more.")
    await ada.send_chat("Hello again")
    await expect(ada.page.get_by_role("alert")).to_have_count(0)


# --- edits and deletions -----------------------------------------------------------------------------------------


async def test_an_edit_replaces_the_text_for_everyone_and_the_draft_comes_back(pair: tuple[Person, Person]):
    ada, grace = pair
    await says(ada, "a mistaek", grace)
    await ada.field.fill("a draft")

    await choose(ada, "a mistaek", "Edit")
    await expect(ada.field).to_have_value("a mistaek")
    await ada.field.fill("a mistake")
    await ada.field.press("Enter")

    for person in pair:
        await expect(person.messages).to_have_text(["a mistake"])
        await expect(line_of(person, "a mistake").get_by_text("(edited)")).to_be_visible()
    await expect(ada.field).to_have_value("a draft")
    await expect(ada.field).to_be_focused()


async def test_an_edit_that_fails_stays_in_the_field_with_the_reason(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    way = Line()
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=way)
    await says(ada, "before")
    way.lost = '"EditChat"'
    await choose(ada, "before", "Edit")
    await ada.field.fill("after, at length")
    await ada.field.press("Enter")
    await eventually(lambda: way.lost_messages, "the edit")
    await expect(ada.page.get_by_text("Saving…")).to_be_visible()
    way.send_to_page("Error", code="edit_too_late", message="raw", id=way.lost_messages[0]["payload"]["id"])

    await expect(ada.page.get_by_role("alert")).to_have_text("Not changed. It is too old to be changed.")
    await expect(ada.field).to_have_value("after, at length")
    await expect(ada.messages).to_have_text(["before"])
    await ada.field.press("Escape")
    await expect(ada.field).to_have_value("")


async def test_an_own_message_is_deleted_for_everyone_after_a_question(pair: tuple[Person, Person]):
    ada, grace = pair
    await says(ada, "wrong room", grace)
    await says(grace, "of Grace", ada)
    await menu_button(grace, "wrong room").click()
    await expect(grace.page.get_by_role("menuitem")).to_have_text(["Reply"])

    await choose(ada, "wrong room", "Delete it")
    await expect(ada.page.get_by_role("dialog")).to_contain_text("wrong room")
    await ada.page.get_by_role("dialog").get_by_role("button", name="Delete it").click()

    for person in pair:
        await expect(person.messages).to_have_text(["of Grace"])
    await expect(grace.page.get_by_role("menu")).to_have_count(0)
    await expect(ada.page.get_by_role("dialog")).to_have_count(0)


# --- replies -----------------------------------------------------------------------------------------------------


async def test_a_reply_quotes_its_message_and_leads_to_it(pair: tuple[Person, Person]):
    ada, grace = pair
    await says(ada, "Which chapter is it?", grace)
    for number in range(30):
        await ada.send_chat(f"line {number}")
    await expect(grace.messages).to_have_count(31)
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(31)

    await grace.field.fill("Chapter 4")
    await choose(grace, "Which chapter is it?", "Reply")
    await expect(grace.page.get_by_text("Replying to Ada")).to_be_visible()
    await grace.field.press("Enter")
    await expect(grace.page.get_by_text("Replying to Ada")).to_have_count(0)

    quote = line_of(ada, "Chapter 4").get_by_role("button", name="In reply to You Which chapter is it?")
    await expect(line_of(ada, "Which chapter is it?")).not_to_be_in_viewport()
    await quote.click()
    await expect(line_of(ada, "Which chapter is it?")).to_be_in_viewport()
    await expect(menu_button(ada, "Which chapter is it?")).to_be_focused()


async def test_a_quote_of_a_message_far_up_loads_it_and_one_that_is_gone_says_so(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    async with clients(stack.gateways[1], username="Bob") as (bob,):
        await bob.join(room)
        await bob.chat("where it began")
        first = await bob.expect("Chat")
        for number in range(120):
            await bob.chat(f"line {number}")
            await bob.expect("Chat")
        await bob.send("Chat", {"content": "about the first", "reply_to": first["id"]})
        await bob.expect("Chat")
        ada = await visitors.enter(stack.gateways[0], room, "Ada")
        await expect(ada.messages).to_have_count(50)

        await line_of(ada, "about the first").get_by_role("button", name="In reply to an earlier message").click()
        await expect(line_of(ada, "where it began")).to_be_in_viewport()
        await expect(ada.messages).to_have_count(122)

        await bob.send("DeleteChat", {"target_id": first["id"], "target_seq": first["seq"]})
        await expect(line_of(ada, "about the first").get_by_text("In reply to a message that is gone")).to_have_count(1)


# --- mentions ----------------------------------------------------------------------------------------------------


async def test_a_name_is_completed_by_keyboard_and_marked_for_the_one_who_is_meant(
    pair: tuple[Person, Person], visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada, grace = pair
    greg = await visitors.enter(stack.gateways[1], room, "Greg Hopper")
    await expect(ada.people).to_have_count(3)
    options = ada.page.get_by_role("listbox", name="Members to mention").get_by_role("option")

    await ada.field.press_sequentially("ask @g")
    await expect(options.locator("bdi")).to_have_text(["Grace", "Greg Hopper"])
    await ada.field.press("ArrowDown")
    await expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    await ada.field.press("Enter")
    await expect(ada.field).to_have_value("ask @Greg Hopper ")
    await expect(options).to_have_count(0)
    await ada.field.press_sequentially("please")
    await ada.field.press("Enter")

    for person in (ada, grace, greg):
        await expect(person.messages).to_have_text(["ask @Greg Hopper please"])
        await expect(person.log.locator(".mention")).to_have_text(["@Greg Hopper"])
    await expect(greg.log.get_by_text("It mentions you.")).to_have_count(1)
    await expect(greg.page.get_by_text("Ada mentioned you: ask @Greg Hopper please")).to_have_count(1)
    await expect(grace.log.get_by_text("It mentions you.")).to_have_count(0)

    await choose(ada, "please", "Edit")
    await ada.field.fill("ask @Grace please")
    await ada.field.press("Enter")
    await expect(grace.log.get_by_text("It mentions you.")).to_have_count(1)
    await expect(greg.log.get_by_text("It mentions you.")).to_have_count(0)
    await expect(greg.log.locator(".mention")).to_have_text(["@Grace"])


# --- the keyboard ------------------------------------------------------------------------------------------------


async def test_all_of_it_works_by_keyboard(pair: tuple[Person, Person]):
    ada, grace = pair
    await says(ada, "one", grace)
    await says(grace, "two", ada)
    keyboard = ada.page.keyboard
    await ada.field.focus()

    await keyboard.press("Shift+Tab")
    await expect(menu_button(ada, "two")).to_be_focused()
    await expect(menu_button(ada, "two")).to_have_accessible_name("Actions for the message of Grace: two")
    await keyboard.press("Enter")
    await expect(ada.page.get_by_role("menuitemcheckbox", name="👍")).to_be_focused()
    await keyboard.press("ArrowRight")
    await keyboard.press("Enter")
    await expect(reactions(grace, "two")).to_have_text(["❤️ 1 by Ada"])
    await expect(menu_button(ada, "two")).to_be_focused()

    await keyboard.press("ArrowRight")
    await expect(reactions(ada, "two")).to_be_focused()
    await keyboard.press("ArrowUp")
    await expect(menu_button(ada, "one")).to_be_focused()
    await keyboard.press("Enter")
    await keyboard.press("Escape")
    await expect(ada.page.get_by_role("menu")).to_have_count(0)
    await expect(menu_button(ada, "one")).to_be_focused()
    await keyboard.press("Escape")
    await expect(ada.field).to_be_focused()

    await keyboard.press("ArrowUp")
    await expect(ada.field).to_have_value("one")
    await keyboard.press("End")
    await keyboard.type("!")
    await keyboard.press("Enter")
    await expect(grace.messages).to_have_text(["one!", "two"])


# --- what stays, and what is off ---------------------------------------------------------------------------------


async def test_after_a_reload_everything_is_as_it_was_left(pair: tuple[Person, Person]):
    ada, grace = pair
    await says(ada, "first version", grace)
    await choose(grace, "first version", "Reply")
    await says(grace, "an answer", ada)
    await choose(grace, "first version", "👀")
    await choose(ada, "first version", "Edit")
    await ada.field.fill("second version")
    await ada.field.press("Enter")
    await expect(grace.messages).to_have_text(["second version", "an answer"])

    for person in pair:
        await person.page.reload()
        await expect(person.messages).to_have_text(["second version", "an answer"])
        await expect(line_of(person, "second version").get_by_text("(edited)")).to_have_count(1)
        await expect(reactions(person, "second version")).to_have_text(["👀 1 by Grace"])
        await expect(line_of(person, "an answer").locator(".quote")).to_contain_text("second version")
    await expect(reactions(grace, "second version")).to_have_attribute("aria-pressed", "true")


async def test_reactions_and_edits_of_others_do_not_move_the_text_that_somebody_reads(
    pair: tuple[Person, Person],
):
    ada, grace = pair
    for number in range(40):
        await ada.send_chat(f"line {number}, of many")
    await expect(grace.messages).to_have_count(40)
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(40)
    await grace.log.evaluate("(log) => { log.scrollTop = 300 }")
    await expect(grace.page.get_by_role("button", name="To the newest")).to_be_visible()
    kept = await grace.log.evaluate(
        """(log) => [...log.querySelectorAll(".content")].find((text) =>
             text.getBoundingClientRect().top > log.getBoundingClientRect().top + 40).textContent"""
    )
    before = await grace.log.evaluate(DISTANCE, kept)

    await choose(ada, "line 0,", "🎉")
    await choose(ada, "line 39,", "🎉")
    await choose(ada, "line 1,", "Edit")
    await ada.field.fill("a much longer text\n" * 5)
    await ada.field.press("Enter")
    await expect(grace.log.get_by_text("(edited)")).to_have_count(1)
    await expect(reactions(grace, "line 39,")).to_have_count(1)

    assert abs(await grace.log.evaluate(DISTANCE, kept) - before) <= 2


async def test_where_the_server_wants_plain_chat_none_of_it_is_offered(visitors: Visitors, tmp_path: Path, room: str):
    with running(embedded_stack(tmp_path, gateways=1, presence=1, STUDYROOM_GATEWAY_LIVING_CHAT="false")) as plain:
        ada = await visitors.enter(plain.gateways[0], room, "Ada")
        grace = await visitors.enter(plain.gateways[0], room, "Grace")
        await expect(ada.people).to_have_count(2)
        await ada.field.press_sequentially("hello @gr")
        await expect(ada.page.get_by_role("listbox")).to_have_count(0)
        await ada.field.press("Enter")
        await says(grace, "hello @Ada", ada)

        await expect(ada.messages).to_have_text(["hello @gr", "hello @Ada"])
        await expect(ada.log.get_by_role("button", name="Actions for")).to_have_count(0)
        await ada.field.press("ArrowUp")
        await expect(ada.field).to_have_value("")
