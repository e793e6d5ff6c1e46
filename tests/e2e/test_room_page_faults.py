"""The page when its connection, its gateway, the bus or the machine under it goes away."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.browser import (
    RECONNECTED_MS,
    WATCH_ROSTER,
    Line,
    Person,
    Visitors,
    asleep,
    chromium,
    with_chromium,
)
from tests.support.processes import EmbeddedStack, embedded_stack, running
from tests.support.waiting import eventually, http_get

pytestmark = with_chromium

GHOST_MS = 25_000


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[EmbeddedStack]:
    """For this test alone, whose processes it may kill; a silent client is given up soon."""
    stack = embedded_stack(tmp_path, presence=1)
    stack.environment |= {
        "STUDYROOM_GATEWAY_PING_INTERVAL_SECONDS": "2",
        "STUDYROOM_GATEWAY_PING_TIMEOUT_SECONDS": "5",
    }
    with running(stack):
        yield stack


@pytest.fixture
def patient_stack(tmp_path: Path) -> Iterator[EmbeddedStack]:
    """Keeps memberships until a gateway has started again and its clients have tried again. No balancer leads them to
    another gateway."""
    stack = embedded_stack(tmp_path, presence=1)
    stack.environment["STUDYROOM_PRESENCE_GRACE_SECONDS"] = "60"
    with running(stack):
        yield stack


def kill(stack: EmbeddedStack, service: str, sent: signal.Signals = signal.SIGKILL) -> None:
    os.kill(stack.of(service)[0]["pid"], sent)


# --- the connection ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1001, ""), (1012, "reconnect_after_ms=200"), (4000, "")])
async def test_after_a_resumable_close_the_page_is_in_the_room_again(
    code: int, reason: str, visitors: Visitors, stack: EmbeddedStack, room: str
):
    line = Line()
    ada = await visitors.enter(stack.gateways[0], room, "Ada", line=line)
    gone = {"user_id": str(uuid4()), "username": "Somebody who left meanwhile", "avatar_url": None, "cursor": None}
    line.send_to_page("UserJoined", user=gone)
    await expect(ada.people).to_have_count(2)

    await line.close(code, reason)

    await eventually(lambda: len(line.sockets) == 2, "a second connection")
    await expect(ada.state).to_have_text("Connected")
    await expect(ada.names).to_have_text(["Ada (you)"])
    await ada.send_chat("here again")
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(1)


async def test_a_draining_server_decides_how_long_the_page_waits(visitors: Visitors, stack: EmbeddedStack, room: str):
    line = Line()
    ada = await visitors.open(stack.gateways[0], room, line=line)
    await ada.page.clock.install()
    await ada.enter("Ada")
    await ada.page.clock.pause_at(time.time() + 60)

    await line.close(1012, "reconnect_after_ms=40000")
    await expect(ada.state).to_have_text("Reconnecting in 40 s…")
    await ada.page.clock.fast_forward(39_000)
    assert len(line.sockets) == 1
    await ada.page.clock.fast_forward(1_500)
    await ada.page.clock.resume()

    await eventually(lambda: len(line.sockets) == 2, "a second connection")
    await expect(ada.state).to_have_text("Connected")


@pytest.mark.parametrize("code", [1000, 1009, 4500])
async def test_after_a_terminal_close_the_page_waits_to_be_asked(
    code: int, visitors: Visitors, stack: EmbeddedStack, room: str
):
    line = Line()
    ada = await visitors.open(stack.gateways[0], room, line=line)
    await ada.page.clock.install()
    await ada.enter("Ada")

    await line.close(code)
    await expect(ada.page.get_by_role("button", name="Connect again")).to_be_visible()
    await ada.page.clock.fast_forward(3_600_000)
    assert len(line.sockets) == 1

    await ada.page.get_by_role("button", name="Connect again").click()
    await expect(ada.state).to_have_text("Connected")


async def test_a_full_room_is_shown_and_tried_again_when_asked(visitors: Visitors, stack: EmbeddedStack, room: str):
    line = Line(lost='"JoinRoom"')
    ada = await visitors.open(stack.gateways[0], room, line=line)
    await ada.page.get_by_label("Your name").fill("Ada")
    await ada.page.get_by_role("button", name="Enter the room").click()
    await eventually(lambda: line.lost_messages, "the first join")
    line.lost = "nothing"

    line.send_to_page("Error", code="room_full", message="the room has 2000 members")
    await expect(ada.state).to_have_text("The room is full.")
    await ada.page.get_by_role("button", name="Try again").click()

    await expect(ada.state).to_have_text("Connected")
    assert len(line.sockets) == 1


async def test_a_connection_that_does_not_answer_pings_is_given_up(visitors: Visitors, stack: EmbeddedStack, room: str):
    line = Line(lost='"Ping"')
    ada = await visitors.open(stack.gateways[0], room, line=line)
    await ada.page.clock.install()
    await ada.enter("Ada")

    await ada.page.clock.run_for(15_000)
    await eventually(lambda: line.lost_messages, "a ping")
    assert len(line.sockets) == 1
    await ada.page.clock.run_for(8_000)
    await ada.page.clock.resume()

    await eventually(lambda: len(line.sockets) == 2, "a second connection")
    await expect(ada.state).to_have_text("Connected")


async def test_a_reload_is_the_same_person_and_nobody_sees_them_leave(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    await ada.board.get_by_role("button", name="Deep focus").press("Enter")
    await expect(grace.people.filter(has_text="Ada")).to_contain_text("Deep focus")
    await grace.page.evaluate(WATCH_ROSTER)

    await ada.page.reload()

    await expect(ada.state).to_have_text("Connected")
    await expect(ada.names).to_have_text(["Ada (you)", "Grace"])
    await ada.send_chat("back already")
    await expect(grace.messages).to_have_text(["back already"])
    await expect(grace.names).to_have_text(["Grace (you)", "Ada"])
    assert await grace.page.evaluate("[window.vanished, window.fewest]") == [[], 2]


# --- the gateway, the bus, the machine ------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL], ids=lambda sent: sent.name)
async def test_a_gateway_that_goes_away_while_people_chat_costs_no_message_and_nobody_vanishes(
    sent: signal.Signals, visitors: Visitors, patient_stack: EmbeddedStack, room: str
):
    people = [
        await visitors.enter(patient_stack.gateways[index % 2], room, name)
        for index, name in enumerate(("Ada", "Grace", "Edsger"))
    ]
    for person in people:
        await expect(person.people).to_have_count(3)
        await person.page.evaluate(WATCH_ROSTER)
    lines: list[str] = []
    over = asyncio.Event()

    async def chat() -> None:
        while not over.is_set():
            for person in people:
                lines.append(f"message {len(lines)}")
                await person.send_chat(lines[-1])
            await asyncio.sleep(0.3)  # a pace, not a wait

    chatting = asyncio.create_task(chat())
    await eventually(lambda: len(lines) >= 6, "some chat")
    kill(patient_stack, "gateway", sent)
    await expect(people[0].state).not_to_have_text("Connected")
    await expect(people[0].state).to_have_text("Connected", timeout=RECONNECTED_MS)
    over.set()
    await chatting

    for person in people:
        await expect(person.log.locator("[data-state=sent]")).to_have_count(len(lines), timeout=RECONNECTED_MS)
    orders = [await person.messages.all_inner_texts() for person in people]
    assert sorted(orders[0], key=lines.index) == lines
    assert orders[1:] == [orders[0], orders[0]]
    for person in people:
        await expect(person.people).to_have_count(3, timeout=GHOST_MS)
        assert await person.page.evaluate("[window.vanished, window.fewest]") == [[], 3]


async def test_when_nats_is_restarted_people_stay_and_chat_goes_on(
    visitors: Visitors, own_stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(own_stack.gateways[0], room, "Ada")
    grace = await visitors.enter(own_stack.gateways[1], room, "Grace")
    for person in (ada, grace):
        await expect(person.people).to_have_count(2)
        await person.page.evaluate(WATCH_ROSTER)
    await ada.send_chat("before")
    await expect(grace.messages).to_have_count(1)

    kill(own_stack, "nats")
    await ada.send_chat("meanwhile")
    await grace.send_chat("also meanwhile")

    for person in (ada, grace):
        await expect(person.log.locator("[data-state=sent]")).to_have_count(3, timeout=2 * RECONNECTED_MS)
    assert await ada.messages.all_inner_texts() == await grace.messages.all_inner_texts()
    for person in (ada, grace):
        await expect(person.state).to_have_text("Connected")
        assert await person.page.evaluate("[window.vanished, window.fewest]") == [[], 2]


@pytest_asyncio.fixture(loop_scope="module")
async def laptop() -> AsyncIterator[tuple[Browser, str]]:
    """A browser of its own, which can be put to sleep, and the flag by which its processes are known."""
    flag = f"--studyroom-test={uuid4()}"
    async with chromium(flag) as browser:
        yield browser, flag


async def test_after_the_sleep_of_a_laptop_its_page_has_the_missed_messages(
    laptop: tuple[Browser, str], visitors: Visitors, own_stack: EmbeddedStack, room: str
):
    browser, flag = laptop
    travelling = Visitors(browser)
    ada = await travelling.enter(own_stack.gateways[0], room, "Ada")
    grace = await visitors.enter(own_stack.gateways[1], room, "Grace")
    await ada.send_chat("good night")
    await expect(grace.messages).to_have_count(1)

    with asleep(flag, signal.SIGSTOP, signal.SIGCONT):
        await expect(grace.names).to_have_text(["Grace (you)"], timeout=GHOST_MS)
        await grace.send_chat("where are you?")
        await grace.send_chat("never mind")
        await expect(grace.log.locator("[data-state=sent]")).to_have_count(3)

    await expect(ada.messages).to_have_text(["good night", "where are you?", "never mind"], timeout=2 * RECONNECTED_MS)
    await expect(ada.state).to_have_text("Connected")
    await expect(grace.names).to_have_text(["Grace (you)", "Ada"], timeout=GHOST_MS)
    await travelling.close()


async def test_a_tab_that_the_browser_froze_catches_up(pair: tuple[Person, Person]):
    ada, grace = pair
    tools = await grace.page.context.new_cdp_session(grace.page)
    await tools.send("Page.setWebLifecycleState", {"state": "frozen"})
    for number in range(3):
        await ada.send_chat(f"line {number}")
    await expect(ada.log.locator("[data-state=sent]")).to_have_count(3)

    await tools.send("Page.setWebLifecycleState", {"state": "active"})

    await expect(grace.messages).to_have_text(["line 0", "line 1", "line 2"])
    await expect(grace.state).to_have_text("Connected")


async def test_a_server_that_lets_no_guests_in_is_shown_before_anyone_tries(
    visitors: Visitors, tmp_path: Path, room: str
):
    closed = embedded_stack(tmp_path, gateways=1, presence=1, STUDYROOM_GATEWAY_GUESTS="false")
    closed.environment["STUDYROOM_GATEWAY_JWT_SECRET"] = "0123456789abcdef0123456789abcdef"
    with running(closed):
        ada = await visitors.open(closed.gateways[0], room)

        await expect(ada.page.get_by_text("only people with a token")).to_be_visible()
        await expect(ada.page.get_by_role("button", name="Enter the room")).to_be_disabled()
        assert http_get(f"{closed.of('gateway')[0]['url']}/api/v1/rooms/{room}/roster")[0] == 401
