"""Sounds and notifications of the page, which the user turns on and off."""

from playwright.async_api import expect

from tests.support.browser import Person, Visitors, with_chromium
from tests.support.client import clients
from tests.support.layout import needs_axe, violations
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually

pytestmark = with_chromium

WATCHED = """
  window.asked = 0
  window.shown = []
  window.tones = 0
  window.Notification = class {
    static permission = "default"
    static async requestPermission() {
      window.asked += 1
      return (Notification.permission = window.answer ?? "granted")
    }
    constructor(title, { body }) { window.shown.push([title, body]) }
    close() {}
  }
  const make = AudioContext.prototype.createOscillator
  AudioContext.prototype.createOscillator = function () { window.tones += 1; return make.call(this) }
"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => hidden ? "hidden" : "visible" })
  document.dispatchEvent(new Event("visibilitychange"))
}"""


def switch(person: Person, name: str):
    return person.page.get_by_role("checkbox", name=name)


async def settings(person: Person) -> None:
    await person.page.get_by_role("button", name="Settings").click()


@needs_axe
async def test_the_page_asks_for_notifications_only_when_the_user_wants_them_and_its_sounds_can_be_muted(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    here, there = stack.gateways
    async with clients(there) as (bob,):
        await bob.join(room)
        ada = await visitors.enter(here, room, "Ada", before=WATCHED)
        await ada.page.evaluate(HIDE, True)
        await bob.chat("hello?")
        await expect(ada.messages).to_have_count(1)
        await eventually(lambda: ada.page.evaluate("window.tones"), "a sound")
        assert await ada.page.evaluate("[window.asked, window.shown.length]") == [0, 0]

        await settings(ada)
        assert await violations(ada.page) == []
        await switch(ada, "Notifications").check()
        assert await ada.page.evaluate("window.asked") == 1
        await switch(ada, "Sounds").uncheck()
        await ada.page.keyboard.press("Escape")
        tones = await ada.page.evaluate("window.tones")
        await bob.chat("are you there?")
        await eventually(lambda: ada.page.evaluate("window.shown.length"), "a notification")
        ((title, body),) = await ada.page.evaluate("window.shown")
        assert (title, body) == ("User", "are you there?")

        await ada.page.evaluate(HIDE, False)
        await bob.chat("welcome back")
        await expect(ada.messages).to_have_count(3)
        await settings(ada)
        await expect(switch(ada, "Notifications")).to_be_checked()
        await expect(switch(ada, "Sounds")).not_to_be_checked()
        assert await ada.page.evaluate("[window.tones, window.shown.length]") == [tones, 1]


async def test_where_the_browser_refuses_notifications_the_page_shows_it(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada", before=f"{WATCHED}; window.answer = 'denied'")
    await settings(ada)
    await switch(ada, "Notifications").click()

    await expect(ada.page.get_by_role("dialog").get_by_role("status")).to_contain_text("The browser refuses")
    await expect(switch(ada, "Notifications")).not_to_be_checked()
