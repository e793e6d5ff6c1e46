"""The tutorial, as a reader does it."""

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from studyroom.services.stack.stack import free_port
from tests.support.browser import chromium, needs_chromium
from tests.support.commands import Command, copy_web, needs_web
from tests.support.markdown import ROOT, Document
from tests.support.waiting import eventually, http_get

TUTORIAL = Document(ROOT / "docs" / "tutorial.md")
PAGE = "html my-room/index.html"
COMMANDS = [
    "make up",
    "mkdir my-room",
    "python3 -m http.server 8000 --bind 127.0.0.1 --directory my-room",
    "npm install --prefix my-room ./web/client",
    "cp docs/examples/study-room.html my-room/study.html",
]
ROOM = "550e8400-e29b-41d4-a716-446655440000"


class Reader:
    """A reader who follows the tutorial, in a separate folder and on free ports."""

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.gateway_port, self.site_port = free_port(), free_port()
        self.site = f"http://127.0.0.1:{self.site_port}/"
        self._next = iter(TUTORIAL.blocks)

    def copies(self, wanted: str) -> str:
        """The next block of code, for the ports of this test."""
        block = next(self._next)
        assert block.info == wanted
        return block.text.replace("8080", str(self.gateway_port)).replace("8000", str(self.site_port))

    def runs(self) -> None:
        subprocess.run(self.copies("sh"), shell=True, check=True, cwd=self.clone, timeout=120)

    def saves_the_page(self) -> None:
        (self.clone / "my-room" / "index.html").write_text(self.copies(PAGE), "utf-8")

    def has_done_everything(self) -> bool:
        return next(self._next, None) is None

    def system(self, command: str) -> Command:
        options = f"--port {self.gateway_port} --data-dir {self.clone / 'data'}"
        return Command("make-up", f"cd {ROOT} && {command} ARGS='{options}'", self.clone / "make-up.log")

    def server(self) -> Command:
        return Command("site", f"cd {self.clone} && {self.copies('sh')}", self.clone / "site.log")

    async def opens(self, browser: Browser, name: str, page_file: str) -> Page:
        page = await (await browser.new_context()).new_page()
        gateway = f"ws://127.0.0.1:{self.gateway_port}/ws"  # the address in the example is that of `make up`
        await page.goto(f"{self.site}{page_file}?name={name}&url={gateway}")
        return page


async def send_chat(page: Page, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.get_by_role("button").click()


async def see(texts: list[str], *pages: Page) -> None:
    for page in pages:
        await expect(page.get_by_role("listitem")).to_have_text(texts, timeout=45_000)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A folder with the parts of a clone that the tutorial names: `web`, with the packages installed there before, and
    the examples."""
    copy_web(tmp_path)
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    return Reader(tmp_path)


@asynccontextmanager
async def two_pages(reader: Reader, page_file: str = "") -> AsyncIterator[tuple[Page, Page]]:
    async with chromium() as browser:
        yield await reader.opens(browser, "Ann", page_file), await reader.opens(browser, "Bob", page_file)


def test_the_tutorial_has_exactly_these_commands():
    assert [block.text for block in TUTORIAL.blocks if block.info == "sh"] == COMMANDS
    assert {block.info for block in TUTORIAL.blocks} == {"sh", "js", PAGE}


@pytest.mark.browser
@needs_chromium
@needs_web
@pytest.mark.timeout(300)
async def test_the_tutorial_ends_with_two_browsers_that_chat(reader: Reader):
    system = reader.system(reader.copies("sh"))
    with system.runs():
        await system.prints("Studyroom is ready")
        reader.runs()
        reader.saves_the_page()
        with reader.server().runs():
            await eventually(lambda: http_get(reader.site)[0] == 200, "the page is served")
            await chat_on_the_first_page(reader)
            reader.runs()
            reader.saves_the_page()
            await chat_while_the_system_stops(reader, system)
            reader.runs()
            await study_together(reader)
            reader.copies("js")
    assert reader.has_done_everything()


async def chat_on_the_first_page(reader: Reader) -> None:
    async with two_pages(reader) as (ann, bob):
        await eventually(lambda: members_of_the_room(reader) == 2, "both are in the room")
        await send_chat(ann, "Hello")
        await see(["Ann: Hello"], ann, bob)
        await send_chat(bob, "Hi")
        await see(["Ann: Hello", "Bob: Hi"], ann, bob)


async def chat_while_the_system_stops(reader: Reader, system: Command) -> None:
    async with two_pages(reader) as (ann, bob):
        await see(["Ann: Hello", "Bob: Hi"], ann, bob)
        await expect(ann.get_by_text("Also here: Bob")).to_be_visible()
        system.interrupt()
        await send_chat(ann, "Still here?")
        await see(["Ann: Hello", "Bob: Hi", "Ann: Still here? (sending)"], ann)
        system.start()
        await see(["Ann: Hello", "Bob: Hi", "Ann: Still here?"], ann, bob)


async def study_together(reader: Reader) -> None:
    async with two_pages(reader, "study.html") as (ann, bob):
        await expect(bob.get_by_role("listitem").filter(has_text="Ann").first).to_be_visible()
        await ann.get_by_role("button", name="Start 25 minutes").click()
        await ann.get_by_role("button", name="Raise hand").click()
        await ann.get_by_label("Message").fill("Try ```x = 1```")
        await ann.get_by_role("button", name="Say").click()
        await expect(bob.get_by_role("status")).to_have_text(re.compile(r"focus 2[45]:\d\d"))
        await expect(bob.get_by_role("list", name="People").get_by_text("✋ Ann")).to_be_visible()
        await expect(bob.locator("pre")).to_have_text("x = 1")


def members_of_the_room(reader: Reader) -> int:
    address = f"http://127.0.0.1:{reader.gateway_port}/api/v1/rooms/{ROOM}/roster"
    return http_get(address)[1].count('"user_id"')
