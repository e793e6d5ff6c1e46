"""The shared notes of a room on the page, and code in CodeMirror, as people at two gateways write them together."""

import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Route, expect

from tests.support.browser import PHONE, Person, Visitors, chromium, with_chromium
from tests.support.layout import looks_right, needs_axe, violations
from tests.support.processes import EmbeddedStack, ServiceProcess, running, service
from tests.support.proxy import Link
from tests.support.tokens import SECRET, token_of

pytestmark = with_chromium

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
DOCUMENTATION = ROOT / "docs" / "documents.md"
COOKIE = "session"
MESSAGE_MAX_BYTES = 20_000
TOO_LARGE = 40_000
FIRST_LOAD_BYTES = 128_000
"""The scripts and styles that the page loads at first, compressed."""
PASTE = """(html) => {
  const data = new DataTransfer()
  data.setData(html.startsWith("<") ? "text/html" : "text/plain", html)
  document.activeElement.dispatchEvent(
    new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }))
}"""
LOADED = """() => performance.getEntriesByType("resource")
  .filter(({ name }) => /\\.(js|css)$/.test(name))
  .map(({ name, encodedBodySize }) => [name.split("/").at(-1), encodedBodySize])"""


class Notes:
    """The notes as one person sees them."""

    def __init__(self, person: Person) -> None:
        self.page = person.page
        self.panel = self.page.get_by_role("region", name="Notes", exact=True)
        self.text = self.page.get_by_role("textbox", name="Notes of this room")
        self.state = self.panel.locator(".state-of-notes")
        self.carets = self.text.locator(".caret-name")

    def tool(self, name: str) -> Locator:
        return self.panel.get_by_role("toolbar").get_by_role("button", name=name, exact=True)

    async def write(self, text: str) -> None:
        """At the end."""
        await self.text.click()
        await self.page.keyboard.press("Control+End")
        await self.page.keyboard.type(text)

    async def open_versions(self) -> Locator:
        await self.panel.get_by_role("button", name="Versions").click()
        return self.page.get_by_role("dialog", name="Versions")

    async def paste(self, content: str) -> None:
        await self.text.click()
        await self.page.evaluate(PASTE, content)


async def open_notes(person: Person) -> Notes:
    await person.page.get_by_role("button", name="Notes", exact=True).click()
    notes = Notes(person)
    await expect(notes.state).to_have_text("Saved")
    return notes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    # Pages that a test answers itself count as those of public sites, which must ask before they talk to this machine.
    async with chromium("--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests") as running:
        yield running


@pytest.fixture(scope="module")
def with_tokens(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A gateway that takes tokens from cookies, and only small edits."""
    one = service(
        "gateway",
        tmp_path_factory.mktemp("with tokens"),
        stack.nats_url,
        STUDYROOM_GATEWAY_JWT_SECRET=SECRET,
        STUDYROOM_GATEWAY_JWT_COOKIE=COOKIE,
        STUDYROOM_GATEWAY_DOCUMENT_MESSAGE_MAX_BYTES=str(MESSAGE_MAX_BYTES),
    )
    with running(one):
        yield one


@needs_axe
async def test_people_on_two_gateways_write_notes_together_also_offline_and_newcomers_see_all(
    visitors: Visitors, stack: EmbeddedStack, room: str, way: Link
):
    ada = await visitors.enter(f"ws://127.0.0.1:{way.port}/ws", room, "Ada")
    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    adas, graces = await open_notes(ada), await open_notes(grace)
    await expect(adas.text).to_be_focused()
    await adas.page.keyboard.type("# Plan")
    await adas.page.keyboard.press("Enter")
    await adas.page.keyboard.type("**Ada** begins with $x^2$. ")
    await expect(graces.text.get_by_role("heading", name="Plan")).to_be_visible()
    await expect(graces.text.locator("strong")).to_have_text("Ada")
    await expect(graces.text.locator("math")).to_be_visible()
    await expect(graces.carets).to_have_text(["Ada"])
    await graces.write("Grace goes on.")
    await expect(adas.carets).to_have_text(["Grace"])
    await expect(adas.state).to_have_text("Saved")
    assert await violations(ada.page) == []

    way.cut()
    way.reset()
    await expect(adas.state).to_have_text("Offline")
    await adas.write(" Ada was away.")
    await graces.write(" Grace was not.")
    await expect(graces.state).to_have_text("Saved")
    await expect(adas.text).not_to_contain_text("Grace was not.")
    way.heal()
    for text in (adas.text, graces.text):
        await expect(text).to_contain_text("Ada was away.")
        await expect(text).to_contain_text("Grace was not.")
    await expect(adas.state).to_have_text("Saved")

    await ada.page.reload()
    await expect(adas.state).to_have_text("Saved")
    late = await visitors.enter(stack.gateways[0], room, "Late", viewport=PHONE)
    for notes in (adas, await open_notes(late)):
        await notes.text.locator("math").first.wait_for()
        for part in ("Plan", "Ada begins with ", "Grace goes on.", "Ada was away.", "Grace was not."):
            await expect(notes.text).to_contain_text(part)


async def test_edits_that_could_not_be_saved_survive_the_end_of_the_tab(
    visitors: Visitors, stack: EmbeddedStack, room: str, way: Link
):
    ada = await visitors.enter(f"ws://127.0.0.1:{way.port}/ws", room, "Ada")
    notes = await open_notes(ada)
    await notes.write("saved, ")
    await expect(notes.state).to_have_text("Saved")
    way.cut()
    way.reset()
    await expect(notes.state).to_have_text("Offline")
    await notes.write("and kept")
    await ada.page.evaluate("dispatchEvent(new Event('pagehide'))")
    again = Person(await ada.page.context.new_page())
    await ada.page.close()
    way.heal()
    await again.page.goto(f"http://127.0.0.1:{way.port}/#{room}")
    await again.page.get_by_role("button", name="Enter the room").click()
    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    await open_notes(again)
    for person in (again, grace):
        notes = Notes(person) if person is again else await open_notes(person)
        await expect(notes.text).to_contain_text("saved, and kept")
    assert await again.page.evaluate("Object.keys(localStorage).filter((key) => key.includes('notes'))") == []


@needs_axe
async def test_a_version_is_kept_under_a_name_and_everyone_gets_it_back(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    grace = await visitors.enter(stack.gateways[1], room, "Grace")
    adas, graces = await open_notes(ada), await open_notes(grace)
    await adas.write("The plan of Monday.")
    await expect(graces.text).to_contain_text("The plan of Monday.")
    versions = await adas.open_versions()
    await versions.get_by_label("Keep the notes as they are now").fill("Monday")
    await versions.get_by_role("button", name="Keep", exact=True).click()
    await expect(versions.get_by_role("listitem")).to_have_text(re.compile("^Monday.*Ada"))
    assert await violations(ada.page) == []
    await ada.page.keyboard.press("Escape")

    await graces.write(" And more.")
    await expect(adas.text).to_contain_text("And more.")
    versions = await graces.open_versions()
    await versions.get_by_role("button", name="Restore Monday").click()
    await versions.get_by_role("button", name="Restore", exact=True).click()
    for notes in (adas, graces):
        await expect(notes.text).not_to_contain_text("And more.")
        await expect(notes.text).to_contain_text("The plan of Monday.")
    versions = await graces.open_versions()
    await expect(versions.get_by_role("listitem")).to_contain_text(["Before Monday was restored", "Monday"])


@needs_axe
async def test_the_notes_work_by_keyboard_and_run_no_script_that_is_pasted(
    visitors: Visitors, stack: EmbeddedStack, room: str
):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    notes = await open_notes(ada)
    keyboard = notes.page.keyboard
    await expect(notes.text).to_be_focused()
    await keyboard.press("Escape")
    await expect(notes.tool("Heading 1")).to_be_focused()
    await keyboard.press("End")
    await expect(notes.tool("Redo")).to_be_focused()
    for _ in range(2):
        await keyboard.press("ArrowLeft")
    await keyboard.press("Enter")
    await expect(notes.text).to_be_focused()
    await keyboard.type("E=mc^2")
    await expect(notes.text).to_have_text("$E=mc^2$")
    await keyboard.press("Control+End")
    await keyboard.type(" as ever")
    await expect(notes.text.locator("math")).to_be_visible()

    await keyboard.press("Enter")
    await notes.tool("Link").click()
    dialog = notes.page.get_by_role("dialog", name="Link")
    await dialog.get_by_label("Address").fill("javascript:alert(1)")
    await keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_contain_text("begins with https://")
    assert await violations(notes.page) == []
    await dialog.get_by_label("Address").fill("https://example.org/a")
    await keyboard.press("Enter")
    await expect(notes.text.get_by_role("link", name="https://example.org/a")).to_be_visible()

    await notes.page.keyboard.press("Control+End")
    await keyboard.press("Enter")
    await notes.paste('<p><b>bold</b> <img src="x" onerror="window.run = 1"><a href="javascript:alert(1)">link</a></p>')
    await expect(notes.text.locator("strong")).to_have_text("bold")
    await expect(notes.text.get_by_role("link", name="link", exact=True)).to_have_count(0)
    assert await notes.page.evaluate("window.run") is None
    assert all("inline event handler" in trouble for trouble in ada.troubles)
    ada.troubles.clear()  # the policy reports the script that it has refused
    await looks_right(notes.page, "with the notes")
    await notes.panel.get_by_role("button", name="Close").press("Enter")
    await expect(notes.page.get_by_role("button", name="Notes", exact=True)).to_be_focused()


async def with_token(visitors: Visitors, gateway: ServiceProcess, room: str, name: str, **claims: Any) -> Person:
    person = await visitors.open(gateway.url, room)
    site = f"http://127.0.0.1:{urlsplit(gateway.url).port}"
    token = token_of(name, name=name, rooms=[room], **claims)
    await person.page.context.add_cookies([{"name": COOKIE, "value": token, "url": site}])
    await person.enter(name)
    return person


@needs_axe
async def test_a_reader_only_reads_and_an_edit_that_is_too_large_is_refused_and_not_lost(
    visitors: Visitors, with_tokens: ServiceProcess, room: str
):
    writer = await with_token(visitors, with_tokens, room, "Writer")
    notes = await open_notes(writer)
    await notes.write("short")
    reader = await with_token(visitors, with_tokens, room, "Reader", documents="read")
    await reader.page.get_by_role("button", name="Notes", exact=True).click()
    reads = Notes(reader)
    await expect(reads.state).to_have_text("Read-only")
    await expect(reads.text).to_contain_text("short")
    await expect(reads.text).to_have_attribute("contenteditable", "false")
    await expect(reads.panel.get_by_role("toolbar")).to_have_count(0)
    assert await violations(reader.page) == []

    await expect(notes.state).to_have_text("Saved")
    await notes.paste("long " * (TOO_LARGE // 5))
    await expect(notes.state).to_have_text("Not saved")
    await expect(notes.panel).to_contain_text("too large to be saved")
    await expect(notes.text).to_contain_text("long long")
    assert await violations(writer.page) == []
    await notes.panel.get_by_role("button", name="Go on from the saved notes").click()
    await expect(notes.state).to_have_text("Saved")
    await expect(notes.text).to_have_text("short")
    await notes.write(" and more")
    await expect(reads.text).to_contain_text("short and more")
    await expect(reads.text).not_to_contain_text("long")

    nobody = await with_token(visitors, with_tokens, room, "Nobody", documents="none")
    await nobody.page.get_by_role("button", name="Notes", exact=True).click()
    await expect(Notes(nobody).state).to_have_text("Closed to you")


async def test_the_page_loads_the_editor_only_with_the_notes(visitors: Visitors, stack: EmbeddedStack, room: str):
    ada = await visitors.enter(stack.gateways[0], room, "Ada")
    files: list[tuple[str, int]] = await ada.page.evaluate(LOADED)
    assert not [name for name, _ in files if name.startswith(("Notes", "tex"))]
    assert sum(size for _, size in files) <= FIRST_LOAD_BYTES
    await open_notes(ada)
    assert [name for name, _ in await ada.page.evaluate(LOADED) if name.startswith("Notes")]


def bundle(example: str, into: Path) -> str:
    script = into / "page.js"
    esbuild = [str(WEB / "node_modules/.bin/esbuild"), f"examples/{example}.ts", f"--outfile={script}", "--bundle"]
    alias = f"--alias:@studyroom/client={WEB / 'client/src'}"
    options = ["--log-level=error", "--format=iife", "--charset=utf8", alias]
    subprocess.run([*esbuild, *options], check=True, timeout=60, cwd=WEB / "client")
    return script.read_text("utf-8")


async def page_of(browser: Browser, gateway: str, script: str, fragment: str) -> Page:
    """A page on the site of this gateway with this script."""

    async def answer(route: Route) -> None:
        html = f'<!doctype html><meta charset="utf-8"><body></body><script>{script}</script>'
        await route.fulfill(content_type="text/html", body=html)

    page = await (await browser.new_context()).new_page()
    site = gateway.replace("ws://", "http://").removesuffix("/ws")
    await page.route(f"{site}/editor", answer)
    await page.goto(f"{site}/editor#{fragment}")
    return page


async def test_code_in_codemirror_over_the_provider_of_y_websocket_comes_together(
    browser: Browser, stack: EmbeddedStack, room: str, way: Link, tmp_path: Path
):
    script = bundle("code", tmp_path)
    ada = await page_of(browser, f"ws://127.0.0.1:{way.port}/ws", script, f"{room}/Ada")
    grace = await page_of(browser, stack.gateways[1], script, f"{room}/Grace")
    for page in (ada, grace):
        await expect(page.locator("output")).to_have_text("synced")
    await ada.locator(".cm-content").click()
    await ada.keyboard.type("print(1)")
    await expect(grace.locator(".cm-line")).to_contain_text(["print(1)"])
    await expect(grace.locator(".cm-ySelectionInfo")).to_have_text("Ada")
    way.cut()
    way.reset()
    await expect(ada.locator("output")).to_have_text("offline")
    await ada.keyboard.type("# away")
    await grace.locator(".cm-content").click()
    await grace.keyboard.press("Control+Home")
    await grace.keyboard.type("# here")
    await grace.keyboard.press("Enter")
    way.heal()
    late = await page_of(browser, stack.gateways[0], script, f"{room}/Late")
    for page in (ada, grace, late):
        await expect(page.locator(".cm-line")).to_contain_text(["# here", "print(1)# away"])
        await page.context.close()


async def test_the_example_of_tiptap_writes_the_same_notes_as_the_page(
    browser: Browser, visitors: Visitors, stack: EmbeddedStack, room: str, tmp_path: Path
):
    example_file = (WEB / "client/examples/notes.ts").read_text("utf-8")
    assert f"```ts web/client/examples/notes.ts\n{example_file}```" in DOCUMENTATION.read_text("utf-8")
    script = bundle("notes", tmp_path).replace("550e8400-e29b-41d4-a716-446655440000", room)
    example = await page_of(browser, stack.gateways[0], script, "")
    await expect(example.locator("output")).to_have_text("Saved")
    await example.locator(".ProseMirror").click()
    await example.keyboard.type("# From the example")
    notes = await open_notes(await visitors.enter(stack.gateways[1], room, "Ada"))
    await expect(notes.text.get_by_role("heading", name="From the example")).to_be_visible()
    await expect(notes.carets).to_have_text(["Guest"])
    await example.context.close()
