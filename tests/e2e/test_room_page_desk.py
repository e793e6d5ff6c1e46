"""A raised hand, a status line and the timer of the room on the page, as everyone in the room sees them."""

import time
from typing import Any

from playwright.async_api import expect

from tests.support.browser import PHONE, Person, Visitors, with_chromium
from tests.support.client import Client, clients
from tests.support.fields import shown, update
from tests.support.layout import needs_axe, violations
from tests.support.processes import EmbeddedStack
from tests.support.waiting import eventually

pytestmark = with_chromium

AN_HOUR_FAST = "const real = Date.now; Date.now = () => real() + 3_600_000"
SECONDS_SHOWN = """(timer) => {
  const [minutes, seconds] = timer.textContent.match(/(\\d+):(\\d\\d)/).slice(1)
  return 60 * minutes + Number(seconds)
}"""


def row(person: Person, name: str):
    return person.people.filter(has_text=name)


def hand(person: Person, name: str):
    return row(person, name).get_by_role("img", name="hand raised")


def timer(person: Person):
    return person.page.get_by_role("timer")


async def open_timer(person: Person) -> None:
    await person.page.get_by_role("group", name="What you show").get_by_role("button").last.click()


async def start(person: Person, kind: str, length: str) -> None:
    await open_timer(person)
    await person.page.get_by_role("dialog").get_by_role("group", name=kind).get_by_role("button", name=length).click()


async def shows(person: Person, until_ms: int) -> None:
    """The page counts down to this time of the server's clock, which is the clock of this machine."""

    async def counts() -> bool:
        left = until_ms / 1000 - time.time()
        seconds: int = await timer(person).evaluate(SECONDS_SHOWN)
        return abs(seconds - left) <= 1.5

    await eventually(counts, "the time that is left")


@needs_axe
async def test_a_raised_hand_and_a_status_are_seen_by_all_also_by_newcomers_and_after_a_reload(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    here, there = stack.gateways
    async with clients(there) as (bob,):
        await bob.join(room)
        await update(bob, hand="yes", status={"not": "text"}, timer={"kind": "focus"})
        ada = await visitors.enter(here, room, "Ada")
        grace = await visitors.enter(there, room, "Grace", viewport=PHONE)
        await expect(grace.names.last).to_have_text("Ada")
        announced = grace.page.get_by_role("region", name="What happens").locator("p")

        await ada.page.get_by_role("button", name="Raise hand").press("Enter")
        await expect(hand(grace, "Ada")).to_be_visible()
        await expect(grace.names.nth(1)).to_have_text("Ada")  # before Bob, who came first
        await expect(announced).to_have_text(["Ada raised a hand"])
        await grace.page.get_by_role("button", name="Set a status").click()
        assert await violations(grace.page) == []
        await grace.page.keyboard.press("Escape")
        await expect(grace.page.get_by_role("button", name="Set a status")).to_be_focused()
        await ada.page.get_by_role("button", name="Set a status").click()
        await ada.page.get_by_label("What the others see").fill("Chapter 4 <b>")
        await ada.page.keyboard.press("Enter")
        await expect(row(grace, "Ada")).to_contain_text("Chapter 4 <b>")

        await ada.page.reload()
        await expect(ada.page.get_by_role("button", name="Raise hand", pressed=True)).to_be_visible()
        late = await visitors.enter(here, room, "Late")
        await expect(row(late, "Ada")).to_contain_text("Chapter 4 <b>")
        await expect(hand(late, "Ada")).to_be_visible()
        assert await violations(late.page) == []

        await ada.page.get_by_role("button", name="Raise hand").click()
        await ada.page.get_by_role("button", name="Status: Chapter 4").click()
        await ada.page.get_by_role("button", name="Remove it").click()
        for person in (ada, grace, late):
            await expect(person.page.get_by_role("img", name="hand raised")).to_have_count(0)
            await expect(row(person, "Ada")).not_to_contain_text("Chapter 4")


@needs_axe
async def test_everyone_sees_the_same_timer_also_newcomers_with_a_wrong_clock_and_after_its_starter_has_left(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    here, there = stack.gateways
    async with clients(there) as (bob,):
        await bob.join(room)
        ada = await visitors.enter(here, room, "Ada")
        grace = await visitors.enter(there, room, "Grace", viewport=PHONE)
        await start(ada, "Start focus", "25 min")
        await eventually(lambda: timers(bob), "a timer")
        (started,) = timers(bob)
        assert started["until"] - started["at"] == 25 * 60_000
        for person in (ada, grace):
            await expect(timer(person)).to_contain_text("Focus")
            await shows(person, started["until"])
        assert await violations(grace.page) == []

        await ada.page.reload()
        late = await visitors.enter(here, room, "Late", before=AN_HOUR_FAST)
        for person in (ada, late):
            await shows(person, started["until"])

        await ada.page.get_by_role("button", name="Leave").click()
        await expect(row(grace, "Ada")).to_have_count(0)
        await eventually(lambda: started in timers(bob), "another member has taken the timer over")
        await shows(grace, started["until"])

        await open_timer(grace)
        await grace.page.get_by_role("button", name="Stop the timer").click()
        for person in (grace, late):
            await expect(timer(person)).to_have_count(0)
        await eventually(lambda: started not in timers(bob), "nobody has the stopped timer")


async def test_all_pages_show_that_a_timer_is_over_and_a_newer_one_replaces_it(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    here, there = stack.gateways
    async with clients(there) as (bob,):
        await bob.join(room)
        people = [await visitors.enter(gateway, room, name) for gateway, name in ((here, "Ada"), (there, "Grace"))]
        now = round(time.time() * 1000)
        await update(bob, timer={"at": now, "kind": "break", "until": now + 3000})
        for person in people:
            await expect(timer(person)).to_contain_text("Break 0:0")
        for person in people:
            await expect(person.page.get_by_role("status").filter(has_text="The break is over")).to_be_attached()

        await start(people[1], "Start focus", "50 min")
        for person in people:
            await expect(timer(person)).to_contain_text("Focus")


def timers(client: Client) -> list[Any]:
    """The timers of all members."""
    users = {user["user_id"] for line in client.log for user in users_of(line)}
    return [fields["timer"] for user in users if (fields := shown(client, user)) and fields.get("timer")]


def users_of(line: dict[str, Any]) -> list[dict[str, Any]]:
    payload = line.get("payload", {})
    return [*payload.get("users", []), *([payload["user"]] if "user" in payload else [])]
