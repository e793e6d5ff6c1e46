"""The page at the root of every gateway, in a real Chromium: people in a room, each on a gateway of their own."""

import json
from uuid import uuid4

import pytest
from playwright.async_api import expect

from tests.support.browser import RECONNECTED_MS, Line, Person, Visitors, with_chromium
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually

pytestmark = with_chromium


# --- together ------------------------------------------------------------------------------------------------


async def test_two_people_on_two_gateways_see_each_other(pair: tuple[Person, Person]):
    ada, grace = pair
    await expect(ada.names).to_have_text(["Ada (you)", "Grace"])
    await expect(grace.names).to_have_text(["Grace (you)", "Ada"])
    await expect(ada.page.get_by_role("heading", name="2 people")).to_be_visible()


async def test_a_visitor_sees_the_members_before_entering(
    pair: tuple[Person, Person], visitors: Visitors, stack: EmbeddedStack, room: str
):
    late = await visitors.open(stack.gateways[0], room)

    await expect(late.page.get_by_text("Ada and Grace are here.")).to_be_visible()


async def test_chat_is_shown_once_to_everyone_in_the_same_order(pair: tuple[Person, Person]):
    ada, grace = pair

    await ada.send_chat("Hello, Grace")
    await expect(grace.messages).to_have_count(1)
    await grace.send_chat("Hello, Ada")

    for person in pair:
        await expect(person.messages).to_have_text(["Hello, Grace", "Hello, Ada"])
    await expect(ada.authors).to_have_text(["You", "Grace"])
    await expect(grace.authors).to_have_text(["Ada", "You"])
    await expect(ada.field).to_have_value("")


async def test_a_message_may_have_lines_and_links(pair: tuple[Person, Person]):
    ada, grace = pair

    await ada.field.press_sequentially("first")
    await ada.field.press("Shift+Enter")
    await ada.field.press_sequentially("see https://example.org/a.")
    await ada.field.press("Enter")

    await expect(grace.messages).to_have_text(["first see https://example.org/a."])
    assert await grace.messages.inner_text() == "first\nsee https://example.org/a."
    await expect(grace.messages.get_by_role("link")).to_have_attribute("href", "https://example.org/a")


async def test_a_member_who_closes_the_page_leaves_the_list_and_the_board(pair: tuple[Person, Person]):
    ada, grace = pair
    await grace.point(0.5, 0.5)
    await expect(ada.cursors).to_have_count(1)

    await grace.page.close()

    await expect(ada.names).to_have_text(["Ada (you)"], timeout=RECONNECTED_MS)
    await expect(ada.cursors).to_have_count(0)


async def test_a_member_who_leaves_is_gone_for_the_others_and_can_come_back(pair: tuple[Person, Person]):
    ada, grace = pair

    await grace.page.get_by_role("button", name="Leave").click()
    await expect(ada.names).to_have_text(["Ada (you)"])
    await expect(grace.page.get_by_text("You have left.")).to_be_visible()

    await grace.enter("Admiral Grace")
    await expect(ada.names).to_have_text(["Ada (you)", "Admiral Grace"])
    await expect(grace.people).to_have_count(2)


async def test_a_new_name_of_a_member_is_shown(visitors: Visitors, stack: EmbeddedStack, room: str):
    line = Line()
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=line)
    grace = str(uuid4())
    line.send_to_page("UserJoined", user={"user_id": grace, "username": "Grace", "avatar_url": None, "cursor": None})
    await expect(ada.names).to_have_text(["Ada (you)", "Grace"])

    line.send_to_page("UserUpdated", user={"user_id": grace, "username": "Admiral", "avatar_url": None, "cursor": None})

    await expect(ada.names).to_have_text(["Ada (you)", "Admiral"])


# --- cursors and places ----------------------------------------------------------------------------------------


async def test_a_cursor_is_seen_at_the_same_place_of_a_window_of_another_size(pair: tuple[Person, Person]):
    ada, grace = pair
    seen = grace.cursors.filter(has_text="Ada")

    for x, y in ((0.25, 0.5), (0.9, 0.1)):
        await ada.point(x, y)
        await grace.sees_cursor_at(seen, x, y)
    await expect(ada.cursors).to_have_count(0)


async def test_a_newcomer_sees_where_the_cursors_are(
    pair: tuple[Person, Person], visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada, grace = pair
    await ada.point(0.5, 0.25)
    await expect(grace.cursors).to_have_count(1)

    late = await visitors.enter(stack.gateways[0], room, "Late")

    await late.sees_cursor_at(late.cursors.filter(has_text="Ada"), 0.5, 0.25)


async def test_cursor_moves_are_sent_twenty_times_a_second_at_most_and_the_last_always(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada, sent = await visitors.open(stack.gateways[0], room), list[str]()
    ada.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    await ada.page.clock.install(time=0)
    await ada.enter("Ada")
    await ada.page.clock.pause_at(10_000)

    def moves() -> list[float]:
        messages = [json.loads(text) for text in sent]
        return [message["payload"]["x"] for message in messages if message["type"] == "CursorMove"]

    for x in range(1, 10):
        await ada.point(x / 10, 0.5)
    await eventually(lambda: moves() == [pytest.approx(0.1, abs=0.01)], "the first move")
    await ada.page.clock.run_for(50)
    await eventually(lambda: moves()[1:] == [pytest.approx(0.9, abs=0.01)], "the last move")


async def test_all_present_and_later_members_see_where_somebody_sits(
    pair: tuple[Person, Person], visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada, grace = pair

    await ada.board.get_by_role("button", name="Deep focus").press("Enter")
    await expect(grace.people.filter(has_text="Ada")).to_contain_text("Deep focus")
    await expect(ada.people.filter(has_text="Ada")).to_contain_text("Deep focus")
    await grace.board.get_by_role("button", name="On a break").click()
    await expect(ada.people.filter(has_text="Grace")).to_contain_text("On a break")

    late = await visitors.enter(stack.gateways[0], room, "Late")
    await expect(late.people.filter(has_text="Ada")).to_contain_text("Deep focus")
    await expect(late.people.filter(has_text="Grace")).to_contain_text("On a break")

    await ada.board.get_by_role("button", name="Deep focus").press("Enter")
    await expect(late.people.filter(has_text="Ada")).not_to_contain_text("Deep focus")


# --- typing --------------------------------------------------------------------------------------------------


async def test_a_typing_notice_appears_and_goes(pair: tuple[Person, Person]):
    ada, grace = pair

    await ada.field.press_sequentially("So")
    await expect(grace.typing).to_have_text("Ada is typing…")
    await ada.field.fill("")
    await expect(grace.typing).to_have_text("")

    await ada.field.press_sequentially("So")
    await expect(grace.typing).to_have_text("Ada is typing…")
    await ada.field.press("Enter")
    await expect(grace.messages).to_have_count(1)
    await expect(grace.typing).to_have_text("")
    await expect(ada.typing).to_have_text("")


async def test_a_typing_notice_ends_when_nothing_more_is_typed(pair: tuple[Person, Person]):
    ada, grace = pair
    await grace.page.clock.install(time=0)
    await grace.page.clock.pause_at(10_000)  # she does not give it up by herself

    await ada.field.press_sequentially("Well")

    await expect(grace.typing).to_have_text("Ada is typing…")
    await expect(grace.typing).to_have_text("")


# --- written texts ----------------------------------------------------------------------------------------


async def test_html_in_a_name_or_a_message_stays_text(visitors: Visitors, stack: EmbeddedStack, room: str):
    html = "<img src=x onerror=alert(1)>"
    mallory = await visitors.enter(stack.gateways[0], room, html)
    grace = await visitors.enter(stack.gateways[1], room, "Grace")

    await mallory.field.press_sequentially("<b>")
    await expect(grace.typing).to_have_text(f"{html} is typing…")
    await mallory.send_chat(f"{html}<script>alert(2)</script> javascript:alert(3)")
    await mallory.point(0.5, 0.5)

    await expect(grace.messages).to_have_text([f"{html}<script>alert(2)</script> javascript:alert(3)"])
    await expect(grace.authors).to_have_text([html])
    await expect(grace.cursors).to_have_text([html])
    await expect(grace.people.filter(has_text=html)).to_have_count(1)
    for person in (mallory, grace):
        await expect(person.page.locator("#root :is(img, script, main a)")).to_have_count(0)


async def test_a_link_without_a_room_makes_a_new_room_with_a_link(visitors: Visitors, stack: EmbeddedStack):
    ada = await visitors.open(stack.gateways[0], "no-such-thing")
    await expect(ada.page.get_by_text("names no room")).to_be_visible()
    await ada.enter("Ada")
    link = await ada.page.get_by_label("Link to this room").input_value()

    grace = await visitors.open(stack.gateways[0], "")
    await grace.page.goto(link)
    await grace.enter("Grace")

    await expect(ada.names).to_have_text(["Ada (you)", "Grace"])
    assert await grace.page.title() == await ada.page.title()


async def test_another_link_in_the_address_of_a_tab_leads_to_the_other_room(pair: tuple[Person, Person], room: str):
    ada, grace = pair

    await grace.page.goto(grace.page.url.replace(room, str(uuid4())))
    await expect(ada.names).to_have_text(["Ada (you)"])
    await grace.enter("Grace")
    await expect(grace.names).to_have_text(["Grace (you)"])

    await grace.page.go_back()
    await grace.enter("Grace")
    await expect(ada.names).to_have_text(["Ada (you)", "Grace"])


async def test_a_user_who_went_to_another_room_is_asked_again_after_going_back_and_a_reload(
    pair: tuple[Person, Person], room: str
):
    _, grace = pair
    enter = grace.page.get_by_role("button", name="Enter the room")

    await grace.page.goto(grace.page.url.replace(room, str(uuid4())))
    await expect(enter).to_be_visible()
    await grace.page.go_back()
    await expect(enter).to_be_visible()
    await grace.page.reload()

    await expect(enter).to_be_visible()


async def test_the_link_is_copied_with_a_press(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    await ada.page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    await ada.page.get_by_role("button", name="Copy link").click()

    await expect(ada.page.get_by_role("button", name="Copied")).to_be_visible()
    assert await ada.page.evaluate("navigator.clipboard.readText()") == ada.page.url


async def test_the_page_makes_its_own_ids_where_the_browser_has_no_random_uuid(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", before="delete Crypto.prototype.randomUUID")
    assert await ada.page.evaluate("typeof crypto.randomUUID") == "undefined"

    await ada.send_chat("without a secure context")

    await expect(ada.messages).to_have_text(["without a secure context"])
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(1)
