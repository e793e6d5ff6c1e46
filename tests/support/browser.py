"""People in front of the page, each in a separate browser context, with the things they see and do there."""

import json
import math
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import (
    Browser,
    Dialog,
    Locator,
    Page,
    ViewportSize,
    WebSocketRoute,
    async_playwright,
    expect,
)

from studyroom.gateway.http.page import DIRECTORY
from tests.support.waiting import eventually

_CHROMIUMS = [Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")]
"""The first one takes half the CPU time, since it has no windows."""
_CHROMIUM = next((path for path in _CHROMIUMS if path.exists()), _CHROMIUMS[0])
_ARGUMENTS = [
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
WEBSOCKET = re.compile(r"/ws\b")
RECONNECTED_MS = 45_000
"""A gateway starts again within some seconds; the client may have come just before, and then waits up to 20 s."""
_CURSOR_TOLERANCE_PX = 2.0

needs_chromium = pytest.mark.skipif(
    not _CHROMIUM.exists(), reason=f"no Chromium at {_CHROMIUM}: apt-get install chromium-headless-shell"
)
needs_page = pytest.mark.skipif(
    not (DIRECTORY / "index.html").exists(), reason="the page is not built: `make page`, with Node 20.19 or newer"
)
with_chromium = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
    needs_page,
]
"""The marks of a module whose tests use the page."""

expect.set_options(timeout=20_000)


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM, args=[*_ARGUMENTS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


def page_address(gateway: str, room: str) -> str:
    return f"{gateway.replace('ws://', 'http://').removesuffix('/ws')}/#{room}"


class Person:
    """Somebody in front of the page, with their view of it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.state = page.get_by_role("banner").get_by_role("status")
        self.people = page.get_by_role("list", name="People").get_by_role("listitem")
        self.names = self.people.locator(".name")
        self.messages = page.get_by_role("log").locator(".content")
        self.authors = page.get_by_role("log").locator(".author")
        self.log = page.get_by_role("log")
        self.field = page.get_by_role("textbox", name="Message")
        self.board = page.get_by_role("region", name="Board")
        self.cursors = page.locator(".cursor")
        self.typing = page.locator(".typing")
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda message: self._on_console(message.type, message.text))
        page.on("dialog", self._dismiss)

    async def enter(self, name: str) -> None:
        await self.page.get_by_label("Your name").fill(name)
        await self.page.get_by_role("button", name="Enter the room").click()
        await expect(self.state).to_have_text("Connected")

    async def send_chat(self, text: str) -> None:
        await self.field.fill(text)
        await self.field.press("Enter")

    async def point(self, x: float, y: float) -> None:
        """Move the mouse to a place on the board, given in fractions of it."""
        await self.page.mouse.move(*await self._spot(x, y))

    async def sees_cursor_at(self, cursor: Locator, x: float, y: float) -> None:
        """Waits for it: the others' cursors glide."""

        async def there() -> bool:
            box = await cursor.bounding_box()
            wanted = await self._spot(x, y)
            return box is not None and math.dist((box["x"], box["y"]), wanted) <= _CURSOR_TOLERANCE_PX

        await eventually(there, f"a cursor at {x}, {y}")

    async def _dismiss(self, dialog: Dialog) -> None:
        self.troubles.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()

    def _on_console(self, kind: str, text: str) -> None:
        """Problems of a connection are the subject of the tests. Everything else is a mistake in the page."""
        if kind in {"error", "warning"} and not re.search("WebSocket|net::ERR|Failed to load resource", text):
            self.troubles.append(f"the console: {text}")

    async def _spot(self, x: float, y: float) -> tuple[float, float]:
        box = await self.page.locator(".cursors").bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]


def line_of(person: Person, text: str) -> Locator:
    """The message with this text of its own, and not one that quotes it."""
    return person.log.locator(".line").filter(has=person.page.locator(".content", has_text=text))


class Visitors:
    """Opens pages, each in a browser context of its own."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._people: list[Person] = []

    async def open(
        self,
        gateway: str,
        room: str,
        *,
        viewport: ViewportSize = LAPTOP,
        before: str = "",
        line: "Line | None" = None,
        color_scheme: Literal["light", "dark"] = "light",
        reduced_motion: Literal["reduce", "no-preference"] = "no-preference",
    ) -> Person:
        """`before`: a script that runs ahead of the page's own. `line`: watches the page's sockets."""
        context = await self._browser.new_context(
            viewport=viewport, color_scheme=color_scheme, reduced_motion=reduced_motion
        )
        if before:
            await context.add_init_script(before)
        person = Person(await context.new_page())
        self._people.append(person)
        if line is not None:
            await line.watch(person)
        await person.page.goto(page_address(gateway, room))
        return person

    async def enter(self, gateway: str, room: str, name: str, **window: Any) -> Person:
        """Open the page and go in. `window`: as for `open`."""
        person = await self.open(gateway, room, **window)
        await person.enter(name)
        return person

    async def close(self) -> None:
        for person in self._people:
            await person.page.context.close()
        troubles = [person.troubles for person in self._people if person.troubles]
        assert troubles == [], troubles


class Line:
    """The sockets of a page, so that a test can send and close as a server would, and lose any message."""

    def __init__(self, lost: str = "nothing") -> None:
        """`lost`: messages of the page with this text are lost on the way."""
        self.lost = lost
        self.lost_messages: list[dict[str, Any]] = []
        self.sockets: list[WebSocketRoute] = []
        self._servers: list[WebSocketRoute] = []

    async def watch(self, person: Person) -> None:
        await person.page.route_web_socket(WEBSOCKET, self._opened)

    async def close(self, code: int, reason: str = "") -> None:
        await self._servers[-1].close()
        await self.sockets[-1].close(code=code, reason=reason)

    def send_to_page(self, message_type: str, **payload: Any) -> None:
        """Send as the server would."""
        self.sockets[-1].send(json.dumps({"type": message_type, "payload": payload}))

    def _opened(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        server = socket.connect_to_server()
        self._servers.append(server)

        def pass_on(text: str | bytes) -> None:
            if self.lost in str(text):
                self.lost_messages.append(json.loads(text))
            else:
                server.send(text)

        socket.on_message(pass_on)


WATCH_ROSTER = """
() => {
  window.vanished = []
  const list = document.querySelector(".people ul")
  const names = () => [...list.querySelectorAll(".name")].map((name) => name.textContent)
  new MutationObserver((changes) => {
    for (const { removedNodes } of changes)
      for (const node of removedNodes) window.vanished.push(node.textContent)
    if (names().length < window.fewest) window.fewest = names().length
  }).observe(list, { childList: true, subtree: true })
  window.fewest = names().length
}
"""
"""From now on `window.vanished` has everyone who is taken from the list of people, even for a moment."""


def processes_of(flag: str) -> list[int]:
    """The process with this flag in its command line, and all below it."""
    parents: dict[int, int] = {}
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command, stat = (entry / "cmdline").read_bytes(), (entry / "stat").read_text()
        except OSError:
            continue  # it has ended meanwhile
        pid = int(entry.name)
        parents[pid] = int(stat.rsplit(")", 1)[1].split()[1])
        arguments = command.split(b"\0")
        if flag.encode() in arguments and not any(argument.startswith(b"--type=") for argument in arguments):
            found.append(pid)
    wanted = set(found)
    while more := {pid for pid, parent in parents.items() if parent in wanted} - wanted:
        wanted |= more
    return sorted(wanted)


@contextmanager
def asleep(flag: str, stop: int, go_on: int) -> Iterator[None]:
    """Every process of the browser with this flag is sent `stop`, and `go_on` at the end."""
    pids = processes_of(flag)
    assert pids, f"no process with {flag}"
    try:
        for pid in pids:
            os.kill(pid, stop)
        yield
    finally:
        for pid in pids:
            os.kill(pid, go_on)
