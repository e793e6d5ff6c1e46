"""Notes of a room that somebody deletes while people have them open on the page."""

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from tests.e2e.test_room_page_notes import Notes, open_notes
from tests.support.backend import SETTINGS, ask
from tests.support.browser import Visitors, with_chromium
from tests.support.layout import looks_right, needs_axe, violations
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.proxy import Link

pytestmark = with_chromium


@pytest.fixture(scope="module")
def moderation(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway of the same system, where a backend may delete documents."""
    with running(service("gateway", tmp_path_factory.mktemp("moderation"), stack.nats_url, **SETTINGS)) as one:
        yield one


async def delete_notes(moderation: ServiceProcess, room: str) -> None:
    assert (await ask(moderation.url, "DELETE", f"/rooms/{room}/documents/notes")).status == 204


async def start_new(notes: Notes) -> None:
    await notes.panel.get_by_role("button", name="Start new notes").click()
    await expect(notes.state).to_have_text("Saved")
    await expect(notes.text).to_have_attribute("contenteditable", "true")


async def copied(notes: Notes) -> str:
    await notes.panel.get_by_role("button", name="Copy my text").click()
    await expect(notes.panel.get_by_role("button", name="Copied")).to_be_visible()
    text: str = await notes.page.evaluate("navigator.clipboard.readText()")
    return text


@needs_axe
async def test_notes_that_were_deleted_are_shown_as_such_and_people_start_new_ones(
    visitors: Visitors, stack: EmbeddedStack, moderation: ServiceProcess, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    adas, graces = await open_notes(ada), await open_notes(grace)
    await adas.write("old plan")
    await expect(graces.text).to_contain_text("old plan")
    await expect(adas.state).to_have_text("Saved")
    await delete_notes(moderation, room)
    for notes in (adas, graces):
        await expect(notes.state).to_have_text("Deleted")
        await expect(notes.panel).to_contain_text("These notes were deleted. You can start new ones.")
        await expect(notes.text).to_have_attribute("contenteditable", "false")
        await expect(notes.text).to_contain_text("old plan")
    assert await violations(ada.page) == []
    await looks_right(ada.page, "with deleted notes")
    await start_new(adas)
    await expect(adas.text).to_have_text("")
    await adas.write("new plan")
    await start_new(graces)
    await expect(graces.text).to_contain_text("new plan")
    await expect(graces.text).not_to_contain_text("old plan")


@needs_axe
async def test_text_that_was_not_saved_can_be_copied_from_deleted_notes_also_after_the_end_of_the_tab(
    visitors: Visitors, stack: EmbeddedStack, moderation: ServiceProcess, room: str, way: Link
):
    ada = await visitors.enter(f"ws://127.0.0.1:{way.port}/ws", room, "Ada")
    await ada.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    notes = await open_notes(ada)
    await notes.write("saved")
    await expect(notes.state).to_have_text("Saved")
    way.cut()
    way.reset()
    await expect(notes.state).to_have_text("Offline")
    await notes.write(" and mine")
    await delete_notes(moderation, room)
    way.heal()
    await expect(notes.state).to_have_text("Deleted")
    await expect(notes.panel).to_contain_text("before your last changes were saved")
    assert await violations(ada.page) == []
    assert "saved and mine" in await copied(notes)

    # The new tab has an empty document, and what Ada wrote follows a text that is gone.
    await ada.page.reload()
    await expect(notes.state).to_have_text("Deleted")
    await expect(notes.text).not_to_contain_text("mine")
    assert "and mine" in await copied(notes)
    await start_new(notes)
    assert await ada.page.evaluate("Object.keys(localStorage).filter((key) => key.includes('notes'))") == []
    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    await expect((await open_notes(grace)).text).to_have_text("")
