"""Writing on the page: long texts, drafts, input methods, directions of writing, and links."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.support.browser import Line, Person, Visitors, with_chromium
from tests.support.layout import layout_faults, needs_axe, violations
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually

pytestmark = with_chromium

PASTE = """(field, text) => {
  field.focus()
  document.execCommand("insertText", false, text)
}"""


# --- long texts ------------------------------------------------------------------------------------------------


@needs_axe
async def test_a_pasted_text_that_is_too_long_stays_whole_and_its_author_decides(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    text = "\n".join(f"{number:04} of the pasted lines" for number in range(200))
    assert len(text) > 4000

    await ada.field.evaluate(PASTE, text)

    await expect(ada.field).to_have_value(text)
    over = len(text) - 4000
    await expect(ada.page.get_by_text("This is too long for one message.")).to_be_visible()
    await expect(ada.page.get_by_text(f"Remove {over:,} characters")).to_be_visible()
    await expect(ada.page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    await ada.field.press("Enter")
    await expect(ada.field).to_have_value(text)
    await expect(ada.messages).to_have_count(0)
    assert await violations(ada.page) == []
    for width, height in ((320, 568), (390, 844), (844, 390), (1440, 900)):
        await ada.page.set_viewport_size({"width": width, "height": height})
        assert await layout_faults(ada.page) == [], width

    await ada.page.get_by_role("button", name="Send as 2 messages").click()
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(2)
    assert "\n".join(await ada.messages.all_inner_texts()) == text
    await expect(ada.field).to_have_value("")


async def test_a_text_that_is_shortened_to_the_limit_is_sent_whole(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    await ada.field.evaluate(PASTE, "🦊" * 4001)  # as the server counts
    await expect(ada.page.get_by_text("Remove 1 character,")).to_be_visible()

    await ada.field.press("Backspace")
    await expect(ada.page.get_by_text("0 left")).to_be_visible()
    await ada.field.press("Enter")

    await expect(ada.log.locator("[data-state=sent]")).to_have_count(1)
    await expect(ada.messages).to_have_text("🦊" * 4000)


async def test_the_limit_is_the_one_of_the_server(visitors: Visitors, tmp_path: Path, room: str):
    with running(embedded_stack(tmp_path, gateways=1, presence=1, STUDYROOM_GATEWAY_CHAT_MAX_CHARS="20")) as strict:
        ada = await visitors.enter(strict.gateways[0], room, "Ada")
        await ada.field.fill("a text that is too long here")
        await expect(ada.page.get_by_text("Remove 8 characters")).to_be_visible()

        await ada.page.get_by_role("button", name="Send as 2 messages").click()

        await expect(ada.messages).to_have_text(["a text that is too", "long here"])
        await expect(ada.log.locator("[data-state=sent]")).to_have_count(2)


# --- drafts ------------------------------------------------------------------------------------------------------


async def failed(ada: Person, line: Line, text: str) -> None:
    line.lost, line.lost_messages = '"Chat"', []
    await ada.send_chat(text)
    await eventually(lambda: line.lost_messages, "the chat")
    line.send_to_page("Error", code="chat_too_long", message="raw", id=line.lost_messages[0]["payload"]["id"])
    line.lost = "nothing"
    await expect(ada.log.get_by_role("button", name="Edit").last).to_be_visible()


@needs_axe
async def test_editing_a_failed_message_keeps_the_draft_for_later(visitors: Visitors, stack: EmbeddedStack, room: str):
    line = Line()
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=line)
    await failed(ada, line, "it failed")
    await ada.field.fill("a draft")

    await ada.log.get_by_role("button", name="Edit").click()
    await expect(ada.field).to_have_value("it failed")
    await expect(ada.field).to_be_focused()
    await expect(ada.page.get_by_text("You are editing a message that was not sent.")).to_be_visible()
    assert await violations(ada.page) == []
    await ada.field.fill("it is shorter")
    await ada.field.press("Enter")

    await expect(ada.messages).to_have_text(["it is shorter"])
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(1)
    await expect(ada.field).to_have_value("a draft")


async def test_giving_up_an_edit_loses_neither_the_failed_message_nor_the_draft(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    line = Line()
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=line)
    await failed(ada, line, "the first")
    await failed(ada, line, "the second")
    await ada.field.fill("a draft")

    for number in (0, 1):
        await ada.log.get_by_role("button", name="Edit").nth(number).click()
    await expect(ada.field).to_have_value("the second")
    await ada.page.get_by_role("button", name="Cancel").click()

    await expect(ada.messages).to_have_text(["the first", "the second"])
    await expect(ada.field).to_have_value("a draft")


# --- input methods -----------------------------------------------------------------------------------------------

COMPOSE = """(field, [keyCode, isComposing, ended]) => {
  field.focus()
  field.dispatchEvent(new CompositionEvent("compositionstart", { bubbles: true }))
  document.execCommand("insertText", false, "日本")
  const end = () => field.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true, data: "日本" }))
  if (ended) end()
  const event = new KeyboardEvent("keydown", { key: "Enter", keyCode, isComposing, bubbles: true, cancelable: true })
  field.dispatchEvent(event)
  if (!ended) end()
  field.dispatchEvent(new KeyboardEvent("keyup", { key: "Enter", bubbles: true }))
}"""


@pytest.mark.parametrize(
    ("key_code", "is_composing", "ended_before"),
    [(229, True, False), (229, False, True)],
    ids=["as Chromium and Firefox do", "as Safari does, where the composition ends before the key"],
)
async def test_the_enter_that_ends_a_composition_sends_nothing(
    key_code: int, is_composing: bool, ended_before: bool, pair: tuple[Person, Person]
):
    ada, grace = pair

    await ada.field.evaluate(COMPOSE, [key_code, is_composing, ended_before])
    await expect(ada.field).to_have_value("日本")
    await ada.field.press("Enter")

    await expect(grace.messages).to_have_text(["日本"])


# --- directions of writing ---------------------------------------------------------------------------------------


async def test_texts_and_names_have_the_direction_of_their_writing(visitors: Visitors, stack: EmbeddedStack, room: str):
    name, text = "דוד", "שלום עולם!"
    david = await visitors.enter(stack.gateways[0], room, name)
    ada = await visitors.enter(stack.gateways[1], room, "Ada")
    late = await visitors.open(stack.gateways[0], room)
    direction = "(part) => getComputedStyle(part).direction"

    await david.point(0.5, 0.5)
    await david.field.press_sequentially(text)
    assert await david.field.evaluate(direction) == "rtl"
    await expect(ada.typing.locator("bdi")).to_have_text(name)
    assert await ada.typing.locator("bdi").evaluate(direction) == "rtl"
    await david.field.press("Enter")

    await expect(ada.messages).to_have_text([text])
    for part in (ada.messages, ada.authors, ada.people.locator("bdi", has_text=name), ada.cursors.locator("span")):
        await expect(part).to_have_count(1)
        assert await part.evaluate(direction) == "rtl"
    await expect(late.page.locator("bdi", has_text=name)).to_have_count(1)
    await late.page.get_by_label("Your name").fill(name)
    assert await late.page.get_by_label("Your name").evaluate(direction) == "rtl"


# --- links -------------------------------------------------------------------------------------------------------


async def test_a_link_ends_where_its_address_ends(pair: tuple[Person, Person]):
    ada, grace = pair

    await ada.send_chat(
        "https://en.example/wiki/Set_(mathematics) 参见https://a.example/b。谢谢 **https://a.example/c**"
    )

    links = grace.messages.get_by_role("link")
    await expect(links).to_have_text(
        ["https://en.example/wiki/Set_(mathematics)", "https://a.example/b", "https://a.example/c"]
    )
    await expect(links.nth(1)).to_have_attribute("href", "https://a.example/b")


# --- the jump to new messages ------------------------------------------------------------------------------------


async def test_the_button_to_new_messages_covers_no_text(pair: tuple[Person, Person]):
    ada, grace = pair
    for number in range(30):
        await ada.send_chat(f"line {number}")
    await expect(grace.messages).to_have_count(30)
    await grace.log.evaluate("(log) => { log.scrollTop = 100 }")
    jump = grace.page.get_by_role("button", name="To the newest")
    await expect(jump).to_be_visible()
    await ada.field.press_sequentially("typing meanwhile")
    await expect(grace.typing).to_have_text("Ada is typing…")

    for width, height in ((320, 568), (390, 844), (844, 390), (768, 1024), (1440, 900)):
        await grace.page.set_viewport_size({"width": width, "height": height})
        await expect(jump).to_be_in_viewport(ratio=1)
        assert await layout_faults(grace.page) == [], width
        box, log = await jump.bounding_box(), await grace.log.bounding_box()
        assert box is not None
        assert log is not None
        assert box["y"] >= log["y"] + log["height"]
