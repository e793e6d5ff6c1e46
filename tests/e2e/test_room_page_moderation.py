"""Moderation on the page, in a real Chromium."""

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from tests.support.backend import SETTINGS, ask
from tests.support.browser import Visitors, with_chromium
from tests.support.client import clients
from tests.support.processes import EmbeddedStack, embedded_stack, running

pytestmark = with_chromium


@pytest.fixture(scope="module")
def moderated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with running(embedded_stack(tmp_path_factory.mktemp("moderated"), gateways=2, presence=1, **SETTINGS)) as stack:
        yield stack


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
