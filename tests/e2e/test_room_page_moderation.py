"""Moderation on the page, in a real Chromium."""

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from tests.support.backend import SETTINGS, ask, token
from tests.support.browser import Person, Visitors, with_chromium
from tests.support.client import clients
from tests.support.layout import needs_axe, violations
from tests.support.processes import EmbeddedStack, embedded_stack, running

pytestmark = with_chromium

COOKIE = "session"


@pytest.fixture(scope="module")
def moderated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    settings = {**SETTINGS, "STUDYROOM_GATEWAY_JWT_COOKIE": COOKIE}
    with running(embedded_stack(tmp_path_factory.mktemp("moderated"), gateways=2, presence=1, **settings)) as stack:
        yield stack


async def enter_with(visitors: Visitors, gateway: str, room: str, **claims: str) -> Person:
    """Enter as a user whose token is in a cookie, as on the site of a school."""
    person = await visitors.open(gateway, room)
    site = gateway.replace("ws://", "http://").removesuffix("/ws")
    await person.page.context.add_cookies([{"name": COOKIE, "value": token(**claims), "url": site}])
    await person.page.get_by_label("Your name").fill("Teacher")
    await person.page.get_by_role("button", name="Enter the room").click()
    await expect(person.state).to_have_text("Connected")
    return person


async def test_a_deleted_message_goes_from_the_page_also_from_messages_loaded_later(
    visitors: Visitors, moderated: EmbeddedStack, room: str
):
    here, there = moderated.gateways
    async with clients(there) as (bob,):
        await bob.join(room)
        messages = []
        for number in range(60):
            await bob.chat(f"line {number}")
            messages.append(await bob.expect("Chat"))
        ada = await visitors.open(here, room)
        await ada.enter("Ada")
        await ada.page.get_by_role("button", name="Show earlier messages").click()
        await expect(ada.messages).to_have_count(60)
        for number in (3, 40):
            path = f"/rooms/{room}/messages/{messages[number]['seq']}"
            assert (await ask(there, "DELETE", path)).status == 204
        left = [f"line {number}" for number in range(60) if number not in {3, 40}]
        await expect(ada.messages).to_have_text(left)


async def test_a_removed_user_sees_it_and_may_try_again_and_a_banned_user_sees_the_ban(
    visitors: Visitors, moderated: EmbeddedStack, room: str
):
    here, there = moderated.gateways
    ada = await visitors.open(here, room)
    await ada.enter("Ada")
    (user,) = (await ask(there, "GET", f"/rooms/{room}/roster")).body["users"]
    assert (await ask(there, "DELETE", f"/rooms/{room}/members/{user['user_id']}")).status == 204
    await expect(ada.state).to_have_text("A moderator has removed you from this room.")
    await ada.page.get_by_role("button", name="Try again").click()
    await expect(ada.state).to_have_text("Connected")
    assert (await ask(there, "PUT", f"/bans/{user['user_id']}", {"seconds": 600})).status == 200
    await expect(ada.state).to_have_text("You are banned from this server.")
    await ada.page.reload()  # the server now refuses the handshake
    await expect(ada.state).to_have_text("You are banned from this server.")


@needs_axe
async def test_a_moderator_deletes_a_message_and_removes_and_bans_people_and_nobody_else_is_offered_that(
    visitors: Visitors, moderated: EmbeddedStack, room: str
):
    here, there = moderated.gateways
    async with clients(there) as (bob,):
        await bob.join(room)
        await bob.chat("something rude")
        grace = await visitors.enter(there, room, "Grace")
        pupil = await enter_with(visitors, here, room, name="Pupil")
        teacher = await enter_with(visitors, here, room, name="Ms Lovelace", role="moderator")
        delete = teacher.log.get_by_role("button", name="Delete this message")
        await delete.click()
        assert await violations(teacher.page) == []
        await teacher.page.get_by_role("button", name="Delete it").click()
        for person in (grace, pupil, teacher):
            await expect(person.messages).to_have_count(0)
        await grace.send_chat("thank you")
        await expect(delete).to_have_count(1)
        for person in (grace, pupil):
            await expect(person.messages).to_have_count(1)
            await expect(person.page.get_by_role("button", name="Delete this message")).to_have_count(0)
            await expect(person.page.get_by_role("button", name="Moderate")).to_have_count(0)

        await teacher.page.get_by_role("button", name="Moderate Grace").click()
        await teacher.page.get_by_role("button", name="Remove from the room").click()
        await expect(grace.state).to_have_text("A moderator has removed you from this room.")
        await grace.page.get_by_role("button", name="Try again").click()
        await expect(grace.state).to_have_text("Connected")
        await teacher.page.get_by_role("button", name="Moderate Grace").click()
        await teacher.page.get_by_role("button", name="Ban for an hour").click()
        await expect(grace.page.get_by_role("button", name="Try again")).to_be_visible()
        await grace.page.get_by_role("button", name="Try again").click()
        await expect(grace.state).to_have_text("You are banned from this room.")
