"""The page for everyone: keyboards, screen readers, small windows, dark rooms, no motion, and allowed resources."""

from typing import Literal

import pytest
from playwright.async_api import expect

from tests.support.browser import PHONE, Line, Person, Visitors, with_chromium
from tests.support.layout import needs_axe, violations
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually

pytestmark = with_chromium

Scheme = Literal["light", "dark"]


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_wrong(scheme: Scheme, visitors: Visitors, stack: EmbeddedStack, room: str):
    line = Line()
    ada = await visitors.open(stack.gateways[0], room, color_scheme=scheme, line=line)
    grace = await visitors.open(stack.gateways[1], room, color_scheme=scheme, viewport=PHONE)
    assert await violations(ada.page) == []

    await ada.enter("Ada")
    await grace.enter("Grace")
    await ada.board.get_by_role("button", name="Deep focus").press("Enter")
    await grace.send_chat("Look at https://example.org/")
    await ada.send_chat("I see")
    await expect(ada.messages).to_have_count(2)
    await grace.point(0.3, 0.3)
    await expect(ada.cursors).to_have_count(1)
    line.lost = '"Chat"'
    await ada.send_chat("lost")
    await eventually(lambda: line.lost_messages, "the chat")
    line.send_to_page("Error", code="chat_too_long", message="too long", id=line.lost_messages[0]["payload"]["id"])
    await expect(ada.log).to_contain_text("Not sent")
    assert await violations(ada.page) == []
    assert await violations(grace.page) == []

    await line.close(4500, "flood")
    await expect(ada.page.get_by_role("button", name="Connect again")).to_be_visible()
    assert await violations(ada.page) == []


async def test_everything_can_be_done_with_the_keyboard_alone(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.open(stack.gateways[0], room)
    await expect(ada.page.get_by_label("Your name")).to_be_focused()
    await ada.page.keyboard.type("Ada")
    await ada.page.keyboard.press("Enter")
    await expect(ada.state).to_have_text("Connected")
    await expect(ada.field).to_be_focused()
    await ada.page.keyboard.type("no mouse")
    await ada.page.keyboard.press("Enter")
    await expect(ada.messages).to_have_text(["no mouse"])
    await expect(ada.field).to_be_focused()

    names = [""]
    while names[-1] != "Link to this room":
        await ada.page.keyboard.press("Shift+Tab")
        names.append(await ada.page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText"))
        outline = await ada.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", names
    reached = " ".join(names)
    for wanted in ("Messages", "On a break", "Deep focus", "People", "Leave", "colours", "Copy link"):
        assert wanted in reached, names


async def test_a_screen_reader_announces_who_comes_and_goes_and_the_messages_of_others(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    before = await visitors.enter(stack.gateways[1], room, "Earlier")
    await before.send_chat("history is not news")
    await expect(before.log.locator("[data-state=sent]")).to_have_count(1)
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    await expect(ada.messages).to_have_count(1)
    announced = ada.page.get_by_role("region", name="What happens").locator("p")

    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    await expect(announced).to_have_text(["Grace joined"])
    await grace.send_chat("Hello")
    await expect(announced).to_have_text(["Grace joined", "Grace: Hello"])
    await ada.send_chat("my own words")
    await expect(grace.messages).to_have_count(3)
    await grace.page.get_by_role("button", name="Leave").click()

    await expect(announced).to_have_text(["Grace joined", "Grace: Hello", "Grace left"])


async def test_users_who_want_no_motion_get_none(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    still = await visitors.enter(stack.gateways[1], room, "Still", reduced_motion="reduce")
    await ada.point(0.1, 0.1)
    await expect(still.cursors).to_have_count(1)
    await still.page.evaluate("""() => {
      window.places = new Set()
      const arrow = document.querySelector(".cursor")
      new MutationObserver(() => window.places.add(arrow.style.transform)).observe(arrow, { attributes: true })
    }""")

    await ada.point(0.9, 0.9)
    await still.sees_cursor_at(still.cursors, 0.9, 0.9)

    assert await still.page.evaluate("window.places.size") == 1


async def test_colours_follow_the_system_until_somebody_chooses(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.open(stack.gateways[0], room, color_scheme="dark")
    root = ada.page.locator("html")
    await expect(root).to_have_attribute("data-theme", "dark")
    await ada.page.emulate_media(color_scheme="light")
    await expect(root).to_have_attribute("data-theme", "light")

    await ada.page.get_by_role("button", name="Use dark colours").click()
    await expect(root).to_have_attribute("data-theme", "dark")
    await ada.page.reload()
    await expect(root).to_have_attribute("data-theme", "dark")


async def test_on_a_phone_everything_fits_and_the_chat_has_the_most_room(pair: tuple[Person, Person]):
    _, grace = pair

    overflow = await grace.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    chat = await grace.page.get_by_role("region", name="Chat").bounding_box()
    assert overflow <= 0
    assert chat is not None
    assert chat["height"] > PHONE["height"] / 2
    await expect(grace.field).to_be_in_viewport()
    await grace.page.set_viewport_size({"width": 390, "height": 420})  # the keyboard has come up
    await expect(grace.board).to_be_hidden()
    await expect(grace.field).to_be_in_viewport()


async def test_the_page_runs_only_its_own_script(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.open(stack.gateways[0], room)

    refused = await ada.page.evaluate("""async () => {
      const refused = []
      addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective))
      const tried = (what) => { try { what() } catch { /* refused */ } }
      const add = (tag, more) => document.body.append(Object.assign(document.createElement(tag), more))
      tried(() => add("script", { text: "window.injected = 1" }))
      tried(() => { document.body.innerHTML = "<b>markup</b>" })
      tried(() => add("img", { src: "https://a.example/" }))
      await new Promise((done) => setTimeout(done, 100))
      return { refused: [...new Set(refused)].sort(), injected: window.injected, markup: document.body.innerHTML }
    }""")

    assert {"img-src", "require-trusted-types-for"} <= set(refused["refused"])
    assert refused.get("injected") is None
    assert "<b>markup</b>" not in refused["markup"]
    ada.troubles.clear()  # they report these refusals


BLOCKED = """window.WebSocket = class extends EventTarget {
  readyState = 3
  constructor() {
    super()
    setTimeout(() => {
      const event = new CloseEvent("close", { code: 1006 })
      this.dispatchEvent(event)
      this.onclose?.(event)
    })
  }
  send() {}
  close() {}
}"""


async def test_where_websockets_are_blocked_the_page_works_over_http(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", before=BLOCKED)
    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    await ada.send_chat("Hello over HTTP")
    await expect(grace.messages).to_have_text(["Hello over HTTP"])
    await grace.send_chat("Hello over a WebSocket")
    for person in (ada, grace):
        await expect(person.messages).to_have_text(["Hello over HTTP", "Hello over a WebSocket"])
    await ada.page.close()
    await expect(grace.people).to_have_count(1)
