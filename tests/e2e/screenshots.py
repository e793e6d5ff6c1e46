"""The pictures of the README, taken of the running system: `make screenshots`."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from playwright.async_api import Browser, ViewportSize, expect

from tests.support.browser import PHONE, Person, chromium, page_address
from tests.support.client import Client
from tests.support.processes import embedded_stack, running

IMAGES = Path(__file__).parents[2] / "docs" / "images"
ROOM = "3f2b8a4e-7c51-4d0b-9a37-5e1f6c6a8c92"
DESKTOP: ViewportSize = {"width": 1280, "height": 800}

PEOPLE = ["Grace Hopper", "🐢 Edsger", "Barbara Liskov", "🦉 Alan", "Margaret H."]
PLACES = [
    (0.34, 0.3, "focus"),
    (0.17, 0.4, "focus"),
    (0.64, 0.36, "together"),
    (0.2, 0.8, "question"),
    (0.68, 0.8, "break"),
]
TALK = [
    (0, "Morning! Who is in for two rounds of focus before the seminar?"),
    (1, "Me. I still have the proof of lemma 3 to write up."),
    (None, "Count me in, starting at nine sharp."),
    (0, "The notes are at https://example.org/seminar/week-7"),
    (0, "Chapter 4 is the one that will be asked about."),
    (3, "Stuck on exercise 2: why does the invariant hold when the list is empty?"),
    (2, "It says nothing about elements that are not there. I will come over and show you."),
    (3, "Oh! Thanks, that was it. So it holds for `[]` too."),
    (None, "Break in five minutes?"),
]
MATHS = "And $\\sum_{k=1}^{n} k = \\frac{n(n+1)}{2}$ is the answer to exercise 3."


async def take() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        system = stack.enter_context(running(embedded_stack(Path(directory), gateways=2, presence=1)))
        browser = await stack.enter_async_context(chromium())
        others = [await Client.connect(system.gateways[1], username=quote(name)) for name in PEOPLE]
        for other, (x, y, place) in zip(others, PLACES, strict=True):
            await other.join(ROOM)
            await other.send("CursorMove", {"x": x, "y": y, "element_id": place})
        await others[1].send("UpdatePresence", {"fields": {"status": "Lemma 3, back at ten"}})
        await others[3].send("UpdatePresence", {"fields": {"hand": 1}})
        ada = await _enter(browser, system.gateways[0], DESKTOP, "light", "Ada Lovelace", "🦊")
        await ada.board.get_by_role("button", name="Working together").press("Enter")
        await ada.page.get_by_role("button", name="Settings").click()
        await ada.page.get_by_label("Name of this room").fill("Algorithms, week 7")
        await ada.page.keyboard.press("Enter")
        await ada.page.get_by_role("button", name="Timer").click()
        await ada.page.get_by_role("button", name="25 min").click()
        for author, text in TALK:
            if author is None:
                await ada.send_chat(text)
            else:
                await others[author].chat(text)
            await expect(ada.messages.last).to_have_text(text.replace("`", ""))
        await others[0].chat(MATHS)
        await expect(ada.messages.last.locator("math")).to_be_visible()
        await others[2].send("Typing", {"is_typing": True})
        await _picture(ada, "room.png")
        await ada.page.get_by_role("button", name="Use dark colours").click()
        await _picture(ada, "room-dark.png")
        sophie = await _enter(browser, system.gateways[0], PHONE, "light", "Sophie", "🦋", others=len(PEOPLE) + 1)
        await ada.page.get_by_role("button", name="Leave").click()
        await expect(sophie.people).to_have_count(len(PEOPLE) + 1)
        await others[2].send("Typing", {"is_typing": True})
        await _picture(sophie, "room-phone.png")
        for other in others:
            await other.close()


async def _enter(
    browser: Browser,
    gateway: str,
    size: ViewportSize,
    scheme: Literal["light", "dark"],
    name: str,
    sign: str,
    *,
    others: int = len(PEOPLE),
) -> Person:
    context = await browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=1.5, locale="en-GB")
    person = Person(await context.new_page())
    await person.page.goto(page_address(gateway, ROOM))
    await person.page.get_by_role("radio", name=sign).check(force=True)
    await person.enter(name)
    await expect(person.people).to_have_count(others + 1)
    await expect(person.cursors).to_have_count(others)
    return person


async def _picture(person: Person, name: str) -> None:
    await expect(person.typing).to_have_text("Barbara Liskov is typing…")
    await person.page.mouse.move(0, 0)
    await person.page.evaluate("document.activeElement?.blur()")
    await person.page.screenshot(path=IMAGES / name, animations="disabled")


if __name__ == "__main__":
    asyncio.run(take())
