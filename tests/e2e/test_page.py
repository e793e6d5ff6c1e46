"""The page at the root of every gateway, in a real Chromium: two people, each on a gateway of their own."""

import json
import math
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Dialog, Locator, Page, ViewportSize, WebSocketRoute, async_playwright, expect

from tests.support.processes import EmbeddedStack, embedded_stack
from tests.support.waiting import eventually

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LAPTOP: ViewportSize = {"width": 1200, "height": 760}
PHONE: ViewportSize = {"width": 390, "height": 844}
TERMINAL_CLOSES = [1000, 1002, 1003, 1007, 1009, 4500, 4999]
GHOST_MS = 25_000
RECONNECTED_MS = 20_000
CURSOR_TOLERANCE_PX = 2.0
WEBSOCKET = re.compile(r"/ws\b")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}: apt-get install chromium"),
]
expect.set_options(timeout=10_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        try:
            yield running
        finally:
            await running.close()


class Person:
    """Somebody in front of the page, and what they see."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.state = page.get_by_role("status")
        self.people = page.get_by_role("list", name="People").get_by_role("listitem")
        self.messages = page.get_by_role("log").get_by_role("listitem")
        self.field = page.get_by_role("textbox", name="Message")
        self.board = page.get_by_role("region", name="Shared area")
        self.cursors = page.locator(".cursor")
        self.typing = page.locator("#typing")
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("dialog", self._dismiss)

    async def enter(self, name: str) -> None:
        await self.page.get_by_label("Your name").fill(name)
        await self.page.get_by_role("button", name="Join").click()
        await expect(self.state).to_have_text("Connected")

    async def say(self, text: str) -> None:
        await self.field.fill(text)
        await self.field.press("Enter")

    async def point(self, x: float, y: float) -> None:
        """Move the mouse to a place in the shared area, given in fractions of it."""
        at = await self._place(x, y)
        await self.page.mouse.move(*at)

    async def sees_cursor_at(self, cursor: Locator, x: float, y: float) -> None:
        """Waits for it: the others' cursors glide."""

        async def there() -> bool:
            box = await cursor.bounding_box()
            wanted = await self._place(x, y)
            return box is not None and math.dist((box["x"], box["y"]), wanted) <= CURSOR_TOLERANCE_PX

        await eventually(there, f"a cursor at {x}, {y}")

    async def _dismiss(self, dialog: Dialog) -> None:
        self.troubles.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()

    async def _place(self, x: float, y: float) -> tuple[float, float]:
        box = await self.board.bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]


class Visitors:
    """Opens pages, each in a browser context of its own."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._people: list[Person] = []

    async def open(self, gateway: str, room: str, *, viewport: ViewportSize = LAPTOP, before: str = "") -> Person:
        """`before`: a script that runs ahead of the page's own."""
        context = await self._browser.new_context(viewport=viewport)
        if before:
            await context.add_init_script(before)
        person = Person(await context.new_page())
        self._people.append(person)
        await person.page.goto(f"{page_address(gateway)}/?room={room}")
        return person

    async def close(self) -> None:
        for person in self._people:
            await person.page.context.close()
        assert [person.troubles for person in self._people if person.troubles] == []


@pytest_asyncio.fixture(loop_scope="module")
async def visitors(browser: Browser) -> AsyncIterator[Visitors]:
    opened = Visitors(browser)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def pair(visitors: Visitors, stack: EmbeddedStack, room: str) -> tuple[Person, Person]:
    """Ada at a laptop and Grace on a phone, in one room on two gateways."""
    ada = await visitors.open(stack.gateways[0], room)
    grace = await visitors.open(stack.gateways[1], room, viewport=PHONE)
    await ada.enter("Ada")
    await grace.enter("Grace")
    for person in (ada, grace):
        await expect(person.people).to_have_count(2)
    return ada, grace


def page_address(gateway: str) -> str:
    return gateway.replace("ws://", "http://").removesuffix("/ws")


# --- being together ----------------------------------------------------------------------------------------


async def test_two_people_on_two_gateways_see_each_other(pair: tuple[Person, Person]):
    ada, grace = pair

    await expect(ada.people).to_have_text(["Ada", "Grace"])
    await expect(grace.people.filter(has_text="Ada")).to_have_count(1)
    await expect(grace.people.filter(has_text="Grace")).to_have_class("me")


async def test_chat_reaches_both_in_the_same_order(pair: tuple[Person, Person]):
    ada, grace = pair

    await ada.say("Hello, Grace")
    await expect(grace.messages).to_have_count(1)
    await grace.say("Hello, Ada")

    for person in pair:
        await expect(person.messages.locator("p")).to_have_text(["Hello, Grace", "Hello, Ada"])
    await expect(ada.messages.locator("b")).to_have_text(["Ada (you)", "Grace"])
    await expect(grace.messages.locator("b")).to_have_text(["Ada", "Grace (you)"])
    await expect(ada.field).to_have_value("")


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

    late = await visitors.open(stack.gateways[0], room)
    await late.enter("Late")

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


async def test_who_closes_the_page_leaves_the_list_and_the_board(pair: tuple[Person, Person]):
    ada, grace = pair
    await grace.point(0.5, 0.5)
    await expect(ada.cursors).to_have_count(1)

    await grace.page.close()

    await expect(ada.people).to_have_text(["Ada"], timeout=RECONNECTED_MS)
    await expect(ada.cursors).to_have_count(0)


async def test_who_leaves_is_gone_for_the_others_and_can_come_back(pair: tuple[Person, Person]):
    ada, grace = pair

    await grace.page.get_by_role("button", name="Leave").click()
    await expect(ada.people).to_have_text(["Ada"])

    await grace.enter("Admiral Grace")
    await expect(ada.people).to_have_text(["Ada", "Admiral Grace"])
    await expect(grace.people).to_have_count(2)


# --- what people write -------------------------------------------------------------------------------------


async def test_html_in_a_name_or_a_message_stays_text(visitors: Visitors, stack: EmbeddedStack, room: str):
    html = "<img src=x onerror=alert(1)>"
    mallory = await visitors.open(stack.gateways[0], room)
    grace = await visitors.open(stack.gateways[1], room)
    await mallory.enter(html)
    await grace.enter("Grace")

    await mallory.field.press_sequentially("<b>")
    await expect(grace.typing).to_have_text(f"{html} is typing…")
    await mallory.say(f"{html}<script>alert(2)</script>")
    await mallory.point(0.5, 0.5)

    await expect(grace.messages.locator("p")).to_have_text([f"{html}<script>alert(2)</script>"])
    await expect(grace.messages.locator("b")).to_have_text([html])
    await expect(grace.cursors).to_have_text([html])
    await expect(grace.people.filter(has_text=html)).to_have_count(1)
    for person in (mallory, grace):
        await expect(person.page.locator("main :is(img, script)")).to_have_count(0)


async def test_a_link_without_a_room_makes_a_new_one_whose_link_leads_to_it(visitors: Visitors, stack: EmbeddedStack):
    ada = await visitors.open(stack.gateways[0], "no-such-thing")
    await expect(ada.page.get_by_text("names no room")).to_be_visible()
    await ada.enter("Ada")
    link = await ada.page.get_by_label("Link to this room").input_value()

    grace = await visitors.open(stack.gateways[0], "")
    await grace.page.goto(link)
    await grace.enter("Grace")

    await expect(ada.people).to_have_text(["Ada", "Grace"])


async def test_the_page_makes_its_own_ids_where_the_browser_has_no_random_uuid(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.open(stack.gateways[0], room, before="delete Crypto.prototype.randomUUID")
    await ada.enter("Ada")
    assert await ada.page.evaluate("typeof crypto.randomUUID") == "undefined"

    await ada.say("without a secure context")

    await expect(ada.messages.locator("p")).to_have_text(["without a secure context"])


# --- what else the server may say --------------------------------------------------------------------------


class Line:
    """The sockets of a page, so that a test can speak and close them as a server would, and lose what it wants."""

    def __init__(self, lost: str = "nothing") -> None:
        """What the page says is lost on the way when this text is in it."""
        self.lost = lost
        self.lost_count = 0
        self.sockets: list[WebSocketRoute] = []
        self._servers: list[WebSocketRoute] = []

    async def watch(self, person: Person) -> None:
        await person.page.route_web_socket(WEBSOCKET, self._opened)

    async def close(self, code: int, reason: str = "") -> None:
        await self._servers[-1].close()
        await self.sockets[-1].close(code=code, reason=reason)

    def say(self, message_type: str, **payload: Any) -> None:
        """To the page, in the name of the server."""
        self.sockets[-1].send(json.dumps({"type": message_type, "payload": payload}))

    def _opened(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        server = socket.connect_to_server()
        self._servers.append(server)

        def pass_on(text: str | bytes) -> None:
            if self.lost in str(text):
                self.lost_count += 1
            else:
                server.send(text)

        socket.on_message(pass_on)


async def test_a_new_name_of_a_member_is_shown(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada, line = await visitors.open(stack.gateways[0], room), Line()
    await line.watch(ada)
    await ada.enter("Ada")
    grace = str(uuid4())
    line.say("UserJoined", user={"user_id": grace, "username": "Grace"})
    await expect(ada.people).to_have_text(["Ada", "Grace"])

    line.say("UserUpdated", user={"user_id": grace, "username": "Admiral Grace"})

    await expect(ada.people).to_have_text(["Ada", "Admiral Grace"])
    await expect(ada.messages).to_have_text(["Grace is now Admiral Grace"])


async def test_a_typing_notice_whose_end_was_lost_goes_by_itself(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada, line = await visitors.open(stack.gateways[0], room), Line()
    await line.watch(ada)
    await ada.page.clock.install(time=0)
    await ada.enter("Ada")
    await ada.page.clock.pause_at(10_000)
    grace = str(uuid4())
    line.say("UserJoined", user={"user_id": grace, "username": "Grace"})

    line.say("TypingStatus", user_id=grace, is_typing=True)
    await expect(ada.typing).to_have_text("Grace is typing…")
    await ada.page.clock.run_for(5_000)

    await expect(ada.typing).to_have_text("")


async def test_an_error_is_shown_and_refused_chat_is_given_back(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada, line = await visitors.open(stack.gateways[0], room), Line(lost='"Chat"')
    await line.watch(ada)
    await ada.page.add_init_script("crypto.randomUUID = () => '00000000-0000-4000-8000-000000000001'")
    await ada.page.reload()
    await ada.enter("Ada")
    await ada.say("too much")
    await eventually(lambda: line.lost_count, "the chat")

    line.say("Error", code="chat_too_long", message="too long", id="00000000-0000-4000-8000-000000000001")
    line.say("Error", code="busy", message="not now")

    await expect(ada.messages).to_have_text(["Not sent: too long (chat_too_long)", "not now (busy)"])
    await expect(ada.field).to_have_value("too much")
    await expect(ada.state).to_have_text("Connected")


async def test_a_join_that_presence_cannot_answer_is_tried_again(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada, line = await visitors.open(stack.gateways[0], room), Line(lost='"JoinRoom"')
    await line.watch(ada)
    await ada.page.get_by_role("button", name="Join").click()
    await eventually(lambda: line.lost_count, "the first join")

    line.lost = "nothing"
    line.say("Error", code="presence_unavailable", message="try again")

    await expect(ada.state).to_have_text("Connected")
    assert len(line.sockets) == 1


# --- losing the connection ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"), [(1001, ""), (1011, ""), (1012, "reconnect_after_ms=200"), (4000, ""), (4001, ""), (4499, "")]
)
async def test_after_a_resumable_close_the_page_is_in_the_room_again(
    code: int, reason: str, visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada, line = await visitors.open(stack.gateways[0], room), Line()
    await line.watch(ada)
    await ada.enter("Ada")

    line.say("UserJoined", user={"user_id": str(uuid4()), "username": "Somebody who left meanwhile"})
    await expect(ada.people).to_have_count(2)

    await line.close(code, reason)

    await eventually(lambda: len(line.sockets) == 2, "a second connection")
    await expect(ada.state).to_have_text("Connected")
    await expect(ada.people).to_have_text(["Ada"])
    await ada.say("here again")
    await expect(ada.messages.locator("p")).to_have_text(["here again"])


async def test_a_draining_server_decides_how_long_the_page_waits(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada, line = await visitors.open(stack.gateways[0], room), Line()
    await line.watch(ada)
    await ada.page.clock.install()
    await ada.enter("Ada")

    await line.close(1012, "reconnect_after_ms=40000")
    await expect(ada.state).to_have_text("Reconnecting in 40 s…")
    await ada.page.clock.fast_forward(39_000)
    assert len(line.sockets) == 1
    await ada.page.clock.fast_forward(1_000)

    await eventually(lambda: len(line.sockets) == 2, "a second connection")
    await expect(ada.state).to_have_text("Connected")


@pytest.mark.parametrize("code", TERMINAL_CLOSES)
async def test_after_a_terminal_close_the_page_waits_to_be_asked(
    code: int, visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada, line = await visitors.open(stack.gateways[0], room), Line()
    await line.watch(ada)
    await ada.page.clock.install()
    await ada.enter("Ada")

    await line.close(code)
    await expect(ada.state).to_have_text("Disconnected" if code == 1000 else f"Disconnected ({code})")
    await ada.page.clock.fast_forward(3_600_000)
    assert len(line.sockets) == 1

    await ada.page.get_by_role("button", name="Connect again").click()
    await expect(ada.state).to_have_text("Connected")


async def test_a_connection_that_answers_no_ping_is_given_up(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada, line = await visitors.open(stack.gateways[0], room), Line(lost='"Ping"')
    await line.watch(ada)
    await ada.page.clock.install()
    await ada.page.reload()
    await ada.enter("Ada")

    await ada.page.clock.run_for(20_000)
    await eventually(lambda: line.lost_count, "a ping")
    assert len(line.sockets) == 1
    await ada.page.clock.run_for(20_000)

    await eventually(lambda: len(line.sockets) == 2, "a second connection")
    await expect(ada.state).to_have_text("Connected")


async def test_a_message_that_was_never_confirmed_is_given_back(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada, line = await visitors.open(stack.gateways[0], room), Line(lost='"Chat"')
    await line.watch(ada)
    await ada.enter("Ada")
    await ada.say("lost on the way")
    await eventually(lambda: line.lost_count, "the chat")
    await line.close(1001)

    await expect(ada.messages).to_have_text(["It is not known whether this was sent: lost on the way"])
    await expect(ada.field).to_have_value("lost on the way")
    await expect(ada.state).to_have_text("Connected")
    line.lost = "nothing"
    await ada.field.press("Enter")
    await expect(ada.messages.locator("p")).to_have_text(["lost on the way"])


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL], ids=lambda sent: sent.name)
async def test_when_its_gateway_is_restarted_the_page_is_in_the_room_again(
    sent: signal.Signals, visitors: Visitors, tmp_path: Path, room: str
):
    own_stack = embedded_stack(tmp_path, presence=1)
    own_stack.start()
    try:
        own_stack.wait_ready()
        ada = await visitors.open(own_stack.gateways[0], room)
        grace = await visitors.open(own_stack.gateways[1], room)
        await ada.enter("Ada")
        await grace.enter("Grace")
        await expect(ada.people).to_have_count(2)

        os.kill(own_stack.of("gateway")[0]["pid"], sent)

        await expect(ada.state).not_to_have_text("Connected")
        await expect(ada.state).to_have_text("Connected", timeout=RECONNECTED_MS)
        await ada.say("here again")
        await expect(grace.messages.locator("p")).to_have_text(["here again"])
        await grace.say("welcome back")
        await expect(ada.messages.locator("p")).to_have_text(["here again", "welcome back"])
        # A guest comes back as somebody new; the one before is gone with the lease of the gateway that was killed.
        await expect(ada.people).to_have_count(2, timeout=GHOST_MS)
        await expect(grace.people).to_have_text(["Grace", "Ada"], timeout=GHOST_MS)
    finally:
        own_stack.stop()
