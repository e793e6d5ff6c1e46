"""Chat on the page: new messages, older messages, and messages that were not sent."""

from uuid import uuid4

from playwright.async_api import expect

from tests.support.browser import Line, Person, Visitors, with_chromium
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually

pytestmark = with_chromium

HIDE = """(hidden) => {
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => hidden ? "hidden" : "visible" })
  document.dispatchEvent(new Event("visibilitychange"))
}"""


async def test_messages_sent_while_the_tab_was_hidden_are_counted_in_its_title_and_marked(pair: tuple[Person, Person]):
    ada, grace = pair
    await ada.send_chat("before")
    await expect(grace.messages).to_have_count(1)
    name = await grace.page.title()

    await grace.page.evaluate(HIDE, True)
    await ada.send_chat("while you were away")
    await ada.send_chat("and again")
    await expect(grace.page).to_have_title(f"(2) {name}")

    await grace.page.evaluate(HIDE, False)
    await expect(grace.page).to_have_title(name)
    rows = grace.log.get_by_role("listitem")
    await expect(rows.nth(1)).to_have_text("New")
    await expect(rows.nth(2)).to_contain_text("while you were away")
    await grace.send_chat("thanks")
    await expect(grace.log.locator(".new")).to_have_count(0)


async def test_a_user_who_reads_further_up_is_not_torn_away_and_is_led_to_new_messages(pair: tuple[Person, Person]):
    ada, grace = pair
    for number in range(30):
        await ada.send_chat(f"line {number}")
    await expect(grace.messages).to_have_count(30)
    await expect(grace.messages.last).to_be_in_viewport()

    await grace.log.evaluate("(log) => { log.scrollTop = 0 }")
    await expect(grace.page.get_by_role("button", name="To the newest")).to_be_visible()
    await ada.send_chat("news")
    await expect(grace.page.get_by_role("button", name="1 new message")).to_be_visible()
    assert await grace.log.evaluate("(log) => log.scrollTop") == 0

    await grace.page.get_by_role("button", name="1 new message").click()
    await expect(grace.messages.last).to_be_in_viewport()
    await expect(grace.page.get_by_role("button", name="new message")).to_have_count(0)


async def test_a_newcomer_reads_the_newest_messages_and_older_messages_when_asked(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    sent = [f"line {number}" for number in range(60)]
    for text in sent:
        await ada.send_chat(text)
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(60)

    late = await visitors.enter(stack.gateways[1], room, "Late")
    await expect(late.messages).to_have_text(sent[10:])

    await late.page.get_by_role("button", name="Show earlier messages").click()
    await expect(late.messages).to_have_text(sent)
    await expect(late.page.get_by_role("button", name="Show earlier messages")).to_have_count(0)


async def test_a_refused_message_shows_it_and_can_be_sent_again(visitors: Visitors, stack: EmbeddedStack, room: str):
    line = Line(lost='"Chat"')
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=line)
    await ada.send_chat("too fast")
    await eventually(lambda: line.lost_messages, "the chat")
    line.send_to_page("Error", code="chat_too_long", message="too long", id=line.lost_messages[0]["payload"]["id"])

    await expect(ada.log).to_contain_text("Not sent. It is too long.")
    await ada.log.get_by_role("button", name="Edit").click()
    await expect(ada.field).to_have_value("too fast")
    await expect(ada.state).to_have_text("Connected")

    line.lost = "nothing"
    await ada.field.press("Enter")
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(1)
    await expect(ada.messages).to_have_count(1)


async def test_a_message_that_was_never_answered_is_sent_again_after_a_reconnect(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    line = Line(lost='"Chat"')
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=line)
    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    await ada.send_chat("lost on the way")
    await eventually(lambda: line.lost_messages, "the chat")
    await expect(ada.log).to_contain_text("Sending…")

    line.lost = "nothing"
    await line.close(1001)

    await expect(ada.log.locator("[data-state=sent]")).to_have_count(1)
    await expect(grace.messages).to_have_text(["lost on the way"])


async def test_the_page_shows_a_gap_that_cannot_be_recovered(visitors: Visitors, stack: EmbeddedStack, room: str):
    line = Line()
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=line)

    line.send_to_page("ChatReset", room_id=room, epoch=str(uuid4()), last_seq=0)

    await expect(ada.log).to_contain_text("Some messages could not be recovered.")
    await ada.send_chat("here we go on")
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(1)


async def test_a_reader_of_the_newest_message_still_sees_it_when_the_phone_is_turned(pair: tuple[Person, Person]):
    ada, grace = pair
    for number in range(20):
        await ada.send_chat(f"line {number} is long enough for more than one line on a phone that is upright")
    await expect(grace.messages).to_have_count(20)

    for width, height in ((844, 390), (390, 844), (390, 420), (390, 844)):
        await grace.page.set_viewport_size({"width": width, "height": height})
        await expect(grace.messages.last).to_be_in_viewport(ratio=1)
    await expect(grace.page.get_by_role("button", name="To the newest")).to_have_count(0)
