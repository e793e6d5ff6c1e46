"""Earlier messages on the page: all can be reached, and the reader keeps their place."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.backend import SETTINGS, ask
from tests.support.browser import Person, Visitors, with_chromium
from tests.support.client import Client, clients
from tests.support.layout import needs_axe, violations
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually

pytestmark = with_chromium

PLACE = """(log, wanted) => {
  const edge = log.getBoundingClientRect().top
  const distance = (text) => text.getBoundingClientRect().top - edge
  const texts = [...log.querySelectorAll(".content")]
  const text = texts.find((text) => wanted ? text.textContent === wanted : distance(text) >= 0)
  return [text.textContent, Math.round(distance(text))]
}"""
"""The first message that is visible as a whole, or a wanted one, and its distance from the upper edge."""

LATE_SCROLL = """(log, wanted) => {
  addEventListener("scroll", (event) => event.stopImmediatePropagation(), { capture: true, once: true })
  const text = [...log.querySelectorAll(".content")].find((text) => text.textContent === wanted)
  const distance = () => Math.round(text.getBoundingClientRect().top - log.getBoundingClientRect().top)
  log.scrollTop = 0
  const before = distance()
  window.seen = []
  const look = () => { window.seen.push(distance()); requestAnimationFrame(look) }
  look()
  log.querySelector(".earlier button").click()
  return before
}"""
"""Scroll to the top unreported, as if more messages came in the same frame, and press the button. Returns the distance
of the wanted message from the upper edge, which `window.seen` has for every frame from now on."""
FRAMES = """() => new Promise((done) => {
  const until = window.seen.length + 5
  const look = () => window.seen.length >= until ? done(window.seen) : requestAnimationFrame(look)
  look()
})"""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Newcomers get ten messages, and clients may be quick."""
    fast = {f"STUDYROOM_GATEWAY_{what}_PER_SECOND": str(10**7) for what in ("MESSAGES", "BYTES")}
    settings = {**SETTINGS, **fast, "STUDYROOM_GATEWAY_HISTORY_ON_JOIN": "10"}
    with running(embedded_stack(tmp_path_factory.mktemp("short"), gateways=1, presence=1, **settings)) as stack:
        yield stack


def earlier(person: Person):
    return person.page.get_by_role("button", name="Show earlier messages")


async def fill(client: Client, count: int) -> list[str]:
    texts = [f"line {number}" for number in range(count)]
    before = len(client.payloads("Chat"))
    for text in texts:
        await client.chat(text)
    await eventually(lambda: len(client.payloads("Chat")) == before + count, "the chat is stored", 60)
    return texts


@asynccontextmanager
async def reading(
    visitors: Visitors, stack: EmbeddedStack, room: str, messages: int
) -> AsyncIterator[tuple[Client, Person, list[str]]]:
    """Bob writes so many messages, and then Ada enters the room on the page."""
    (here,) = stack.gateways
    async with clients(here) as (bob,):
        await bob.join(room)
        sent = await fill(bob, messages)
        yield bob, await visitors.enter(here, room, "Ada"), sent


async def to_the_top(person: Person) -> None:
    await person.log.evaluate("(log) => { log.scrollTop = 0 }")


async def keeps(person: Person, place: list[Any]) -> None:
    """The message is where it was. Its position is a fraction of a pixel, and may be rounded differently."""
    text, distance = place
    now = await person.log.evaluate(PLACE, text)
    assert now == [text, pytest.approx(distance, abs=2)]


async def test_the_reader_keeps_their_place_when_earlier_messages_are_shown_above_it(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    async with clients(stack.gateways[1]) as (bob,):
        await bob.join(room)
        sent = await fill(bob, 120)
        ada = await visitors.enter(stack.gateways[0], room, "Ada")
        await expect(ada.messages).to_have_text(sent[70:])
        for shown in (70, 20):
            await to_the_top(ada)
            await expect(earlier(ada)).to_be_in_viewport()
            before = await ada.log.evaluate(PLACE)
            assert before[0] == sent[shown]
            await earlier(ada).click()
            await expect(ada.messages).to_have_text(sent[max(0, shown - 50) :])
            await keeps(ada, before)


async def test_in_no_frame_does_the_reader_lose_their_place_also_if_the_browser_reports_their_scroll_late(
    visitors: Visitors, short: EmbeddedStack, room: str
):
    async with reading(visitors, short, room, 120) as (_bob, ada, sent):
        await earlier(ada).click()
        await expect(ada.messages).to_have_text(sent[60:])
        await expect(ada.messages.last).to_be_in_viewport()

        at = await ada.log.evaluate(LATE_SCROLL, sent[60])
        await expect(ada.messages).to_have_text(sent[10:])
        seen = await ada.page.evaluate(FRAMES)

        assert seen == [pytest.approx(at, abs=2)] * len(seen)


async def test_the_reader_keeps_their_place_when_a_message_above_it_is_deleted(
    visitors: Visitors, short: EmbeddedStack, room: str
):
    async with reading(visitors, short, room, 60) as (bob, ada, sent):
        await earlier(ada).click()
        await expect(ada.messages).to_have_count(60)
        await ada.log.evaluate("(log) => { log.scrollTop = log.scrollHeight / 2 }")
        before = await ada.log.evaluate(PLACE)
        assert before[0] not in sent[:20]

        stored = bob.payloads("Chat")[10]
        assert (await ask(short.gateways[0], "DELETE", f"/rooms/{room}/messages/{stored['seq']}")).status == 204
        await expect(ada.messages).to_have_count(59)

        await keeps(ada, before)


@needs_axe
async def test_all_messages_can_be_reached_however_many_a_newcomer_gets(
    visitors: Visitors, short: EmbeddedStack, room: str
):
    async with reading(visitors, short, room, 30) as (_bob, ada, sent):
        await expect(ada.messages).to_have_text(sent[20:])
        await to_the_top(ada)
        await earlier(ada).focus()
        await ada.page.keyboard.press("Enter")
        await expect(ada.messages).to_have_text(sent)
        await expect(ada.page.get_by_text("The chat begins here.")).to_be_attached()
        await expect(ada.log.get_by_text("20 earlier messages shown")).to_be_attached()
        await expect(ada.log).to_be_focused()
        assert await violations(ada.page) == []


async def test_a_room_without_earlier_messages_offers_none(visitors: Visitors, short: EmbeddedStack, room: str):
    ada = await visitors.enter(short.gateways[0], room, "Ada")
    await ada.send_chat("the first")
    await expect(ada.page.get_by_text("The chat begins here.")).to_be_visible()
    await expect(earlier(ada)).to_have_count(0)

    async with clients(short.gateways[0]) as (bob,):
        await bob.join(room)
        await fill(bob, 12)
        await expect(ada.messages).to_have_count(13)
        await expect(earlier(ada)).to_have_count(0)


async def test_deleted_messages_hide_no_others(visitors: Visitors, short: EmbeddedStack, room: str):
    async with reading(visitors, short, room, 130) as (bob, ada, sent):
        stored = bob.payloads("Chat")
        await expect(ada.messages).to_have_text(sent[120:])
        await earlier(ada).click()
        await expect(ada.messages).to_have_text(sent[70:])

        # The first message of those that came with the join, and all of the next page.
        for number in (120, *range(20, 70)):
            assert (
                await ask(short.gateways[0], "DELETE", f"/rooms/{room}/messages/{stored[number]['seq']}")
            ).status == 204
        await expect(ada.messages).to_have_text(sent[70:120] + sent[121:])
        await to_the_top(ada)
        await earlier(ada).click()

        await expect(ada.messages).to_have_text(sent[:20] + sent[70:120] + sent[121:])


async def test_a_room_whose_newest_messages_are_all_deleted_shows_the_earlier_ones_when_asked(
    visitors: Visitors, short: EmbeddedStack, room: str
):
    async with reading(visitors, short, room, 20) as (bob, ada, sent):
        await expect(ada.messages).to_have_text(sent[10:])
        for stored in bob.payloads("Chat")[10:]:
            assert (await ask(short.gateways[0], "DELETE", f"/rooms/{room}/messages/{stored['seq']}")).status == 204
        await expect(ada.messages).to_have_count(0)

        await earlier(ada).click()

        await expect(ada.messages).to_have_text(sent[:10])


async def test_beyond_a_thousand_messages_nothing_is_missing_and_the_reader_keeps_their_place(
    visitors: Visitors, short: EmbeddedStack, room: str
):
    async with reading(visitors, short, room, 60) as (bob, ada, sent):
        await expect(ada.messages).to_have_text(sent[50:])
        await to_the_top(ada)
        await earlier(ada).click()
        await expect(ada.messages).to_have_text(sent)
        await ada.log.evaluate("(log) => { log.scrollTop = 200 }")
        before = await ada.log.evaluate(PLACE)

        more = await fill(bob, 1050)  # the client keeps 1,000
        await expect(ada.messages).to_have_count(1110, timeout=60_000)
        assert await ada.messages.all_inner_texts() == sent + more
        await keeps(ada, before)

        await ada.page.get_by_role("button", name="new messages").click()
        await bob.chat("the last")
        await expect(ada.messages.last).to_have_text("the last")
        await to_the_top(ada)
        shown = await ada.messages.all_inner_texts()
        assert shown == (sent + more + ["the last"])[-len(shown) :]
        await earlier(ada).click()
        await expect(ada.messages).to_have_count(len(shown) + 50)
        assert await ada.messages.all_inner_texts() == (sent + more + ["the last"])[-len(shown) - 50 :]


async def test_a_page_of_messages_that_cannot_be_loaded_can_be_asked_for_again(
    visitors: Visitors, short: EmbeddedStack, room: str
):
    async with reading(visitors, short, room, 30) as (_bob, ada, sent):
        await to_the_top(ada)
        await expect(earlier(ada)).to_be_visible()
        await ada.page.route("**/messages?*", lambda route: route.fulfill(status=503))
        await earlier(ada).click()
        await expect(ada.log).to_contain_text("Earlier messages cannot be loaded now.")
        await ada.page.unroute_all()
        await earlier(ada).click()

        await expect(ada.messages).to_have_text(sent)
        await expect(ada.log).not_to_contain_text("cannot be loaded")
