"""The page in windows of all sizes, in each state of the connection, and the state in words."""

import time
from uuid import uuid4

import pytest
from playwright.async_api import expect

from tests.support.browser import PHONE, Line, Visitors, with_chromium
from tests.support.layout import layout_faults, looks_right, needs_axe, violations
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually

pytestmark = with_chromium

NO_CLIPBOARD = """
  Object.defineProperty(navigator, "clipboard", { value: undefined })
  document.execCommand = () => false
"""


def long_named_room() -> str:
    """A room of its own, with the longest name of all: Morning Conservatory."""
    return str(uuid4())[:-8] + "00000153"


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_covered_or_cut_in_any_state_and_size(scheme, visitors: Visitors, stack: EmbeddedStack):
    line = Line()
    room = long_named_room()
    ada = await visitors.open(stack.gateways[0], room, line=line, color_scheme=scheme, before=NO_CLIPBOARD)
    await ada.enter("Ada")
    await ada.send_chat("Hello")
    await looks_right(ada.page, "connected")
    tools = ada.page.get_by_role("group", name="What you show").get_by_role("button")
    await tools.nth(0).click()
    await tools.nth(1).click()
    await ada.page.get_by_label("What the others see").fill("Chapter 4, back at three with more coffee")
    await ada.page.keyboard.press("Enter")
    await tools.nth(2).click()
    await ada.page.get_by_role("button", name="50 min").click()
    await expect(ada.page.get_by_role("timer")).to_be_visible()
    await looks_right(ada.page, "with a hand, a status and a timer")
    assert await violations(ada.page) == []

    await ada.page.get_by_role("button", name="Copy link").click()
    await expect(ada.page.get_by_text("Copy the link yourself")).to_be_visible()
    await looks_right(ada.page, "with the link to copy by hand")
    assert await violations(ada.page) == []
    await ada.page.get_by_role("button", name="Close").click()

    line.send_to_page("Error", code="removed", message="raw")
    await expect(ada.state).to_have_text("A moderator has removed you from this room.")
    await looks_right(ada.page, "removed")
    assert await violations(ada.page) == []
    await ada.page.get_by_role("button", name="Try again").click()
    await expect(ada.state).to_have_text("Connected")

    await line.close(1012, "reconnect_after_ms=600000")
    await expect(ada.page.get_by_role("button", name="Try now")).to_be_visible()
    await looks_right(ada.page, "waiting")
    assert await violations(ada.page) == []
    await ada.page.get_by_role("button", name="Try now").click()
    await expect(ada.state).to_have_text("Connected")

    await line.close(4500)
    await expect(ada.state).to_have_text("Disconnected, because this tab sent too much.")
    await looks_right(ada.page, "closed")
    assert await violations(ada.page) == []


@pytest.mark.parametrize("size", [(390, 420), (320, 300), (844, 190), (568, 160)])
async def test_with_the_keyboard_of_a_phone_open_the_field_and_some_chat_are_visible(
    size: tuple[int, int], visitors: Visitors, stack: EmbeddedStack, room: str
):
    width, height = size
    ada = await visitors.enter(stack.gateways[0], room, "Ada", viewport=PHONE)
    await ada.send_chat("Hello")
    await ada.page.set_viewport_size({"width": width, "height": height})

    await expect(ada.field).to_be_in_viewport(ratio=1)
    await expect(ada.messages.last).to_be_in_viewport(ratio=1)
    assert await layout_faults(ada.page) == []


async def test_on_a_phone_on_its_side_the_board_the_people_and_the_chat_are_all_there(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", viewport={"width": 844, "height": 390})

    for part in (ada.board, ada.people.first, ada.log, ada.field):
        await expect(part).to_be_in_viewport(ratio=1)


# --- waiting ---------------------------------------------------------------------------------------------------


async def test_the_wait_counts_down_silently_and_a_press_ends_it(visitors: Visitors, stack: EmbeddedStack, room: str):
    line = Line()
    ada = await visitors.open(stack.gateways[0], room, line=line)
    await ada.page.clock.install()
    await ada.enter("Ada")
    await ada.page.clock.pause_at(time.time() + 60)

    await line.close(1012, "reconnect_after_ms=40000")
    await expect(ada.state).to_have_text("Reconnecting in 40 s…")
    await ada.page.clock.run_for(3_000)
    await expect(ada.state).to_have_text("Reconnecting in 37 s…")
    await expect(ada.state.locator("[aria-hidden=true]")).to_have_text("in 37 s…")
    assert len(line.sockets) == 1
    await ada.page.get_by_role("button", name="Try now").click()
    await ada.page.clock.resume()

    await eventually(lambda: len(line.sockets) == 2, "a second connection")
    await expect(ada.state).to_have_text("Connected")
    await ada.send_chat("here again")
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(1)


# --- texts of the server ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("room_full", "The room is full."),
        ("banned_from_room", "You are banned from this room."),
        ("room_not_allowed", "Your access does not include this room."),
        ("a_code_of_tomorrow", "Something went wrong. Try again in a moment."),
    ],
)
async def test_the_page_says_in_its_own_words_why_a_room_did_not_let_somebody_in(
    code: str, text: str, visitors: Visitors, stack: EmbeddedStack, room: str
):
    line = Line(lost='"JoinRoom"')
    ada = await visitors.open(stack.gateways[0], room, line=line)
    await ada.page.get_by_label("Your name").fill("Ada")
    await ada.page.get_by_role("button", name="Enter the room").click()
    await eventually(lambda: line.lost_messages, "the join")

    line.send_to_page("Error", code=code, message="raw words of the server")

    await expect(ada.state).to_have_text(text)
    await expect(ada.page.get_by_text("raw words")).to_have_count(0)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("chat_too_long", "Not sent. It is too long."),
        ("chat_storage_full", "Not sent. The server has no room for more messages."),
        ("invalid_message", "Not sent. The page made a mistake. Reload it and try again."),
        ("a_code_of_tomorrow", "Not sent. Something went wrong. Try again in a moment."),
    ],
)
async def test_the_page_says_in_its_own_words_why_a_message_was_not_sent(
    code: str, text: str, visitors: Visitors, stack: EmbeddedStack, room: str
):
    line = Line(lost='"Chat"')
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=line)
    await ada.send_chat("Hello")
    await eventually(lambda: line.lost_messages, "the chat")

    line.send_to_page("Error", code=code, message="raw words", id=line.lost_messages[0]["payload"]["id"])

    await expect(ada.log).to_contain_text(text)
    await expect(ada.page.get_by_text("raw words")).to_have_count(0)


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (4501, "disconnected", "A moderator has disconnected you."),
        (4502, "banned", "You are banned from this server."),
        (1009, "message too big", "A message was too large for the server."),
        (4712, "of tomorrow", "The server has closed the connection (code 4712)."),
    ],
)
async def test_the_page_says_in_its_own_words_why_the_connection_was_closed(
    code: int, reason: str, text: str, visitors: Visitors, stack: EmbeddedStack, room: str
):
    line = Line()
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=line)

    await line.close(code, reason)

    await expect(ada.state).to_have_text(text)
